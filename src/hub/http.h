// HTTP by libcurl, as far as the hub needs it: a request at a time, headers, bodies in pieces, redirects that
// the token does not follow to other hosts.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "src/base/result.h"

namespace bifrons {

struct HttpResponse {
  int status = 0;                              // of the last answer; 0 = there was none
  std::map<std::string, std::string> headers;  // its own; names in lower case, of a repeated one the last
  std::string text;                            // a 2xx answer's body, if it was to be kept
  bool elsewhere = false;                      // whether another host than the endpoint's gave it
  std::string cut;                             // why it ended before it was whole; "" = it is whole
  bool reachable = true;                       // false: no connection was made

  bool ok() const { return cut.empty() && status >= 200 && status < 300; }
  /// A header's value, or "".
  std::string header(const std::string& lower_case_name) const;
};

struct HttpRequest {
  std::string url;
  bool head = false;  // headers only; those of a redirect that leads to a file's storage are the answer
  int64_t from = 0;   // asks for the bytes from here on
  size_t keep = 0;    // bytes of a 2xx answer's body to keep in its text; a longer one is an error
  /// Takes a 2xx answer's body in order, where none is kept. An error ends the request, and is what Perform
  /// returns.
  std::function<Status(const HttpResponse&, std::string_view)> body = nullptr;
  /// Asked several times a second while it runs.
  std::function<void()> idle = nullptr;
};

class HttpClient {
 public:
  /// `endpoint`: the address whose host gets `token` ("" = none). Certificates are checked against the
  /// system's authorities, or against those in the file that $REQUESTS_CA_BUNDLE or $CURL_CA_BUNDLE names.
  /// Errors: libcurl cannot start (kFailure), no address (kUsage).
  static Result<HttpClient> Create(const std::string& endpoint, const std::string& token);
  HttpClient(HttpClient&&) noexcept;
  ~HttpClient();

  /// Follows redirects; from https none to http. Proxies are what http_proxy, https_proxy, all_proxy and
  /// no_proxy say. A connection that fails or is silent for half a minute is no error, see HttpResponse.
  /// Errors: Interrupted(), the body's own, one that is too long or leads astray (kBadData).
  Result<HttpResponse> Perform(const HttpRequest& request);

 private:
  struct State;
  explicit HttpClient(std::unique_ptr<State> state);
  Result<HttpResponse> PerformOne(const HttpRequest& request, const std::string& url);

  std::unique_ptr<State> state_;
};

/// Percent-encodes all that is not unreserved (RFC 3986), '/' too unless `keep_slashes`.
std::string UrlEncoded(std::string_view text, bool keep_slashes = false);

}  // namespace bifrons
