#include "src/hub/refusal.h"

#include "src/base/printable.h"
#include "src/hub/retries.h"

namespace bifrons {
namespace {

constexpr const char* kHowToGiveToken =
    "set HF_TOKEN to one from https://huggingface.co/settings/tokens, or log in with Python's `hf auth "
    "login`";

std::string NoAccess(const HttpResponse& response, const Repository& repository,
                     const HubSettings& settings) {
  if (response.header("x-error-code") == "GatedRepo")
    return "is gated: ask for access at " + settings.endpoint + "/" + repository.name + ", then " +
           kHowToGiveToken;
  if (settings.token.empty())
    return std::string("does not exist, or is private or gated and needs a token: check the name, or ") +
           kHowToGiveToken;
  if (response.status == 401)
    return "cannot be read with the token given (HF_TOKEN, or the token file in HF_HOME): it is wrong, or "
           "the "
           "repository does not exist";
  return "is not open to the token given: ask for access at " + settings.endpoint + "/" + repository.name +
         ", or give the token the right to read it";
}

}  // namespace

Error RefusalOf(const HttpResponse& response, const Repository& repository, const std::string& what,
                const HubSettings& settings) {
  const std::string who = repository.shown() + (what.empty() ? "" : ": " + what);
  const std::string again = what.empty() ? "" : "; run again to go on where it stopped";
  if (response.status == 0 || !response.cut.empty())
    return Failure(
        who + ": cannot be fetched from " + settings.endpoint + ": " + Printable(response.cut) + again +
        (response.status == 0 && what.empty() ? "; is there a network, or a proxy to name in https_proxy?"
                                              : ""));
  if (response.status == 429) {
    const double wait = AskedWait(response);
    return Failure(who + ": the hub answers no more requests for now (429)" +
                   (wait > 0 ? ", and asks to wait " + std::to_string(static_cast<long>(wait)) + " s" : "") +
                   "; run again later" +
                   (settings.token.empty() ? ", or with a token, which allows more" : ""));
  }
  if (response.elsewhere && response.status >= 400)
    return Failure(who + ": where the hub keeps it, it is refused with status " +
                   std::to_string(response.status) + again);
  if (response.status == 401 || response.status == 403)
    return Failure(who + " " + NoAccess(response, repository, settings));
  if (response.status == 404 && what.empty() && response.header("x-error-code") == "RevisionNotFound")
    return Failure(repository.name + " has no revision " + Printable(repository.revision) +
                   ": it must be a branch, tag or commit");
  if (response.status == 404 && what.empty())
    return Failure(who + " does not exist on " + settings.endpoint + ": check the name");
  if (response.ok()) return Failure(who + ": the hub's answer ended early" + again);
  return Failure(who + ": the hub answers with status " + std::to_string(response.status) + again);
}

}  // namespace bifrons
