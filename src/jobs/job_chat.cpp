// The body of a request to /v1/chat/completions: a conversation about images.
// openai-python: types/chat/completion_create_params.py
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "src/base/printable.h"
#include "src/engine/answer.h"
#include "src/jobs/job_parser.h"
#include "src/jobs/request_switch.h"
#include "vision/data_uri.h"

namespace bifrons {
namespace {

using nlohmann::json;

constexpr int64_t kMaxTokens = 1 << 30;

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// With `start`, in small letters; schemes and hosts may be written in others.
bool Begins(std::string_view text, std::string_view start) {
  return text.size() >= start.size() &&
         std::equal(start.begin(), start.end(), text.begin(),
                    [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b); });
}

// file:///a%20b, file:/a or file://localhost/a → the path (RFC 8089).
std::string PathOfFileUrl(std::string_view url, const std::string& name, Mistake* mistake) {
  url.remove_prefix(std::string_view("file:").size());
  if (url.starts_with("//")) {
    const std::string_view host = url.substr(2, url.find('/', 2) - 2);
    if (!host.empty() && !(host.size() == 9 && Begins(host, "localhost")))
      mistake->Report(name, "is a file: URL of another host; write file:///folder/image.png");
    url.remove_prefix(std::min(url.size(), 2 + host.size()));
  }
  std::string path;
  for (size_t i = 0; i < url.size(); i++) {
    const int high = url[i] == '%' && i + 2 < url.size() ? HexDigit(url[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(url[i + 2]) : -1;
    if (low >= 0) i += 2;
    path += low >= 0 ? static_cast<char>(high * 16 + low) : url[i];
  }
  if (!path.starts_with('/') || path.find('\0') != std::string::npos)
    mistake->Report(name, "is not a usable file: URL; write file:///folder/image.png");
  return path;
}

std::string ImageSource(const std::string& url, const std::string& name, Mistake* mistake) {
  if (IsDataUri(url)) return url;
  if (Begins(url, "file:")) return PathOfFileUrl(url, name, mistake);
  if (Begins(url, "http:") || Begins(url, "https:")) {
    mistake->Report(name,
                    "is \"" + Printable(url) +
                        "\", but nothing is downloaded here; give a data: URI, a file:// URL or a path");
  } else if (url == "-" || url.find("://") != std::string::npos) {
    mistake->Report(name, "is \"" + Printable(url) + "\"; it must be a data: URI, a file:// URL or a path");
  }
  return url;
}

// null where there is none.
const json& Member(const json& object, const char* key) {
  static const auto& kNone = *new json;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found == object.end() ? kNone : *found;
}

class ChatMessages {
 public:
  explicit ChatMessages(Mistake* mistake) : mistake_(mistake) {}

  void Add(const json& message, const std::string& name) {
    if (!message.is_object()) return mistake_->Report(name, "is not an object");
    const json& role = Member(message, "role");
    const json& content = Member(message, "content");
    if (content.is_null()) return mistake_->Report(name + ".content", "is missing");
    if (role == "user") {
      AddQuestion(content, name);
    } else if (role == "assistant") {
      AddAnswer(content, name);
    } else if (role == "system" || role == "developer") {
      AddInstructions(content, name);
    } else {
      mistake_->Report(name + ".role", "is " + FieldValue::OfJson(role).shown() +
                                           "; it must be user, assistant, system or developer");
    }
  }

  AnswerJob Take() {
    if (!WantsAnswer()) mistake_->Report("body.messages", "must end with a message of the user");
    return std::move(job_);
  }

 private:
  bool WantsAnswer() const { return !job_.turns.empty() && job_.turns.back().answer.empty(); }

  void AddQuestion(const json& content, const std::string& name) {
    if (WantsAnswer()) return mistake_->Report(name + ".role", "is user, as before: turns must alternate");
    AnswerJob::Turn turn;
    turn.question = Text(content, name + ".content", &turn);
    if (turn.question.empty() && turn.images == 0) mistake_->Report(name + ".content", "is empty");
    if (turn.question.empty()) turn.question = kDefaultQuestion;
    // Janus has no role for instructions; they come before the first question.
    if (job_.turns.empty() && !instructions_.empty()) turn.question = instructions_ + "\n\n" + turn.question;
    job_.turns.push_back(std::move(turn));
  }

  void AddAnswer(const json& content, const std::string& name) {
    if (!WantsAnswer())
      return mistake_->Report(name + ".role", "is assistant, but no question comes before it");
    job_.turns.back().answer = Text(content, name + ".content", nullptr);
    if (job_.turns.back().answer.empty()) mistake_->Report(name + ".content", "is empty");
  }

  void AddInstructions(const json& content, const std::string& name) {
    if (!job_.turns.empty())
      return mistake_->Report(name + ".role", "gives instructions after the first question");
    const std::string text = Text(content, name + ".content", nullptr);
    instructions_ += (instructions_.empty() || text.empty() ? "" : "\n\n") + text;
  }

  // The text of a message, parts joined by line breaks. Images go to `turn`, or are a mistake without one.
  std::string Text(const json& content, const std::string& name, AnswerJob::Turn* turn) {
    const auto plain = [&](const json& value, const std::string& at) {
      if (value.is_string() && value.get_ref<const std::string&>().empty()) return std::string();
      return FieldValue::OfJson(value).Text(at, mistake_);
    };
    if (!content.is_array()) return plain(content, name);
    std::string text;
    for (size_t i = 0; i < content.size(); i++) {
      const json& part = content[i];
      const std::string at = name + "[" + std::to_string(i) + "]";
      const json& type = Member(part, "type");
      if (type == "text") {
        const std::string more = plain(Member(part, "text"), at + ".text");
        text += (text.empty() || more.empty() ? "" : "\n") + more;
      } else if (type == "image_url" && turn != nullptr) {
        const json& url = Member(Member(part, "image_url"), "url");
        const std::string source = FieldValue::OfJson(url).Text(at + ".image_url.url", mistake_);
        job_.images.push_back(ImageSource(source, at + ".image_url.url", mistake_));
        turn->images++;
      } else {
        mistake_->Report(at + ".type", "is " + FieldValue::OfJson(type).shown() + "; it must be text" +
                                           (turn ? " or image_url" : ": only users show images"));
      }
    }
    return text;
  }

  Mistake* mistake_;
  AnswerJob job_;
  std::string instructions_;
};

std::span<const RequestSwitch> ChatSwitches() {
  static constexpr const char* kOut = "leave it out";
  static const auto& switches = *new std::vector<RequestSwitch>{
      {"n", {1}, "there is one answer"},
      {"stream", {false}, "answers are written whole"},
      {"frequency_penalty", {0}, kOut},
      {"presence_penalty", {0}, kOut},
      {"logprobs", {false}, kOut},
      {"top_logprobs", {0}, kOut},
      {"logit_bias", {json::object()}, kOut},
      {"stop", {json::array()}, kOut},
      {"tools", {json::array()}, kOut},
      {"functions", {json::array()}, kOut},
      {"tool_choice", {"none", "auto"}, kOut},
      {"function_call", {"none", "auto"}, kOut},
      {"response_format", {json::object({{"type", "text"}})}, "answers are plain text"},
      {"modalities", {json::array({"text"})}, "answers are plain text"},
  };
  return switches;
}

// Concern the service, not the answer.
const auto& kIgnoredInChats = *new std::set<std::string_view>{"metadata",
                                                              "store",
                                                              "service_tier",
                                                              "stream_options",
                                                              "user",
                                                              "safety_identifier",
                                                              "prompt_cache_key",
                                                              "verbosity",
                                                              "prompt_cache_options",
                                                              "prompt_cache_retention",
                                                              "reasoning_effort",
                                                              "parallel_tool_calls"};

}  // namespace

AnswerJob ReadChatBody(const json& body, std::string* model, Mistake* mistake) {
  ChatMessages conversation(mistake);
  const json& messages = Member(body, "messages");
  if (messages.is_null()) mistake->Report("body.messages", "is missing");
  if (!messages.is_array() || messages.empty()) mistake->Report("body.messages", "is not a list of messages");
  for (size_t i = 0; messages.is_array() && i < messages.size(); i++)
    conversation.Add(messages[i], "body.messages[" + std::to_string(i) + "]");
  AnswerJob job = conversation.Take();
  for (const auto& [key, json_value] : body.items()) {
    if (json_value.is_null() || key == "messages" || kIgnoredInChats.contains(key)) continue;
    if (CheckSwitch(ChatSwitches(), key, json_value, mistake)) continue;
    const std::string name = "body." + Printable(key);
    const FieldValue value = FieldValue::OfJson(json_value);
    if (key == "model") {
      *model = value.Text(name, mistake);
    } else if (key == "temperature") {
      job.temperature = static_cast<float>(value.Number(name, 0, kMaxJobTemperature, mistake));
    } else if (key == "top_p") {
      job.top_p = static_cast<float>(value.Number(name, 0, 1, mistake));
    } else if (key == "seed") {
      job.seed = value.Whole(name, 0, kMaxJobSeed, mistake);
    } else if (key == "max_tokens" || key == "max_completion_tokens") {
      if (job.max_tokens) mistake->Report(name, "says again what another field says");
      job.max_tokens = static_cast<int>(value.Whole(name, 1, kMaxTokens, mistake));
    } else {
      mistake->Report(name, "is no parameter of /v1/chat/completions that is known here");
    }
  }
  return job;
}

}  // namespace bifrons
