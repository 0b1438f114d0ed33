#include "src/hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <new>

#include "src/base/free_by.h"
#include "src/base/stop.h"

namespace bifrons {
namespace {

constexpr int kMostRedirects = 10;
constexpr size_t kMostHeaders = 200;  // the hub's answers have some 30
constexpr long kConnectSeconds = 20, kSilentSeconds = 30;
constexpr int kPollMilliseconds = 200;

// No connection was made.
constexpr CURLcode kUnreachable[] = {CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_RESOLVE_HOST,
                                     CURLE_COULDNT_CONNECT, CURLE_PEER_FAILED_VERIFICATION,
                                     CURLE_SSL_CACERT_BADFILE};

// CURL and CURLM are one type to the compiler.
using Easy = std::unique_ptr<CURL, FreeBy<curl_easy_cleanup>>;
using Multi = std::unique_ptr<CURLM, FreeBy<curl_multi_cleanup>>;
using Url = std::unique_ptr<CURLU, FreeBy<curl_url_cleanup>>;
using List = std::unique_ptr<curl_slist, FreeBy<curl_slist_free_all>>;
using Text = std::unique_ptr<char, FreeBy<curl_free>>;

std::string Part(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return "";
  return Text(text).get();
}

// Scheme, host and port: who may see the token.
std::string OriginOf(const std::string& address) {
  const Url url(curl_url());
  if (!url) throw std::bad_alloc();
  if (curl_url_set(url.get(), CURLUPART_URL, address.c_str(), 0) != CURLUE_OK) return "";
  return Part(url.get(), CURLUPART_SCHEME) + "://" + Part(url.get(), CURLUPART_HOST) + ":" +
         Part(url.get(), CURLUPART_PORT);
}

// Where `location` leads from `address`; "" = nowhere.
std::string Resolved(const std::string& address, const std::string& location) {
  const Url url(curl_url());
  if (!url) throw std::bad_alloc();
  if (curl_url_set(url.get(), CURLUPART_URL, address.c_str(), 0) != CURLUE_OK ||
      curl_url_set(url.get(), CURLUPART_URL, location.c_str(), CURLU_URLENCODE) != CURLUE_OK)
    return "";
  return Part(url.get(), CURLUPART_URL);
}

int StatusOf(CURL* curl) {
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  return static_cast<int>(status);
}

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

struct Exchange {
  CURL* curl;
  const HttpRequest& request;
  HttpResponse response;
  Status status;              // of the body's taker
  std::exception_ptr thrown;  // by a callback: libcurl's frames are not to be unwound
};

// What a callback of libcurl returns: `take`'s result, or `failed` where it throws.
template <class Take>
size_t Guarded(Exchange& exchange, size_t failed, const Take& take) {
  try {
    return take();
  } catch (...) {
    exchange.thrown = std::current_exception();
    return failed;
  }
}

void KeepHeader(std::string_view line, HttpResponse& response) {
  if (line.starts_with("HTTP/")) response.headers.clear();  // those before were a proxy's, or of a status 100
  const size_t colon = line.find(':');
  if (colon == line.npos || response.headers.size() >= kMostHeaders) return;
  std::string name(line.substr(0, colon));
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  const size_t begin = line.find_first_not_of(" \t", colon + 1), end = line.find_last_not_of(" \t\r\n");
  response.headers[name] =
      begin == line.npos || end < begin ? "" : std::string(line.substr(begin, end - begin + 1));
}

Status TakePiece(std::string_view piece, const HttpRequest& request, HttpResponse& response) {
  if (response.status < 200 || response.status > 299)
    return {};  // of what is no success the status says enough
  if (request.body) return request.body(response, piece);
  if (response.text.size() + piece.size() > request.keep)
    return DataError(request.url + ": the answer is longer than " + std::to_string(request.keep) + " bytes");
  response.text += piece;
  return {};
}

size_t TakeHeader(char* bytes, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  return Guarded(exchange, 0, [&] {
    KeepHeader({bytes, size * count}, exchange.response);
    return size * count;
  });
}

size_t TakeBody(char* bytes, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  return Guarded(exchange, CURL_WRITEFUNC_ERROR, [&]() -> size_t {
    exchange.response.status = StatusOf(exchange.curl);
    exchange.status = TakePiece({bytes, size * count}, exchange.request, exchange.response);
    return exchange.status.ok() ? size * count : CURL_WRITEFUNC_ERROR;
  });
}

}  // namespace

std::string HttpResponse::header(const std::string& lower_case_name) const {
  const auto it = headers.find(lower_case_name);
  return it == headers.end() ? "" : it->second;
}

std::string UrlEncoded(std::string_view text, bool keep_slashes) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '.' || c == '_' || c == '~' || (keep_slashes && c == '/');
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%', out += "0123456789ABCDEF"[byte >> 4], out += "0123456789ABCDEF"[byte & 15];
    }
  }
  return out;
}

struct HttpClient::State {
  std::string origin;
  std::string authorities;  // file of certificates to trust; "" = the system's
  bool secure = true;       // the endpoint's: never left for less
  Easy curl;                // keeps connections between requests
  Multi multi;              // waits for it and for signals at once
  List header;              // the token's
};

HttpClient::HttpClient(std::unique_ptr<State> state) : state_(std::move(state)) {}
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

Result<HttpClient> HttpClient::Create(const std::string& endpoint, const std::string& token) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started != CURLE_OK) return Failure(std::string("libcurl: ") + curl_easy_strerror(started));
  auto state = std::make_unique<State>();
  state->origin = OriginOf(endpoint), state->secure = endpoint.starts_with("https:");
  for (const char* name : {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})
    if (const char* path = std::getenv(name); path && state->authorities.empty()) state->authorities = path;
  if (state->origin.empty()) return UsageError("HF_ENDPOINT is no address: " + endpoint);
  state->multi.reset(curl_multi_init());
  state->curl.reset(curl_easy_init());
  if (!state->curl || !state->multi) throw std::bad_alloc();
  if (!token.empty()) {
    state->header.reset(curl_slist_append(nullptr, ("Authorization: Bearer " + token).c_str()));
    if (!state->header) throw std::bad_alloc();
  }
  return HttpClient(std::move(state));
}

Result<HttpResponse> HttpClient::PerformOne(const HttpRequest& request, const std::string& url) {
  CURL* const curl = state_->curl.get();
  CURLM* const multi = state_->multi.get();
  Exchange exchange{curl, request, {}, {}, {}};
  exchange.response.elsewhere = OriginOf(url) != state_->origin;

  curl_easy_reset(curl);
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, state_->secure ? "https" : "http,https");
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "bifrons/" BIFRONS_VERSION);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kSilentSeconds);
  curl_easy_setopt(curl, CURLOPT_NOBODY, request.head ? 1L : 0L);
  if (!state_->authorities.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, state_->authorities.c_str());
  if (!exchange.response.elsewhere) curl_easy_setopt(curl, CURLOPT_HTTPHEADER, state_->header.get());
  const std::string range = std::to_string(request.from) + "-";
  if (request.from > 0) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, TakeHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, TakeBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);

  std::array<char, CURL_ERROR_SIZE> reason{};
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason.data());

  curl_multi_add_handle(multi, curl);
  int running = 1;
  while (curl_multi_perform(multi, &running) == CURLM_OK && running && !StopRequested()) {
    if (request.idle) request.idle();
    curl_waitfd stop{StopDescriptor(), CURL_WAIT_POLLIN, 0};
    curl_multi_poll(multi, &stop, 1, kPollMilliseconds, nullptr);
  }
  CURLcode code = CURLE_RECV_ERROR;
  int left = 0;
  if (const CURLMsg* message = curl_multi_info_read(multi, &left)) code = message->data.result;
  exchange.response.status = StatusOf(curl);
  curl_multi_remove_handle(multi, curl);
  if (exchange.thrown) std::rethrow_exception(exchange.thrown);
  if (!exchange.status.ok()) return exchange.status.error();
  if (StopRequested()) return Interrupted();

  if (code != CURLE_OK) {
    exchange.response.cut = reason[0] ? reason.data() : curl_easy_strerror(code);
    exchange.response.reachable =
        std::find(std::begin(kUnreachable), std::end(kUnreachable), code) == std::end(kUnreachable);
  }
  return std::move(exchange.response);
}

Result<HttpResponse> HttpClient::Perform(const HttpRequest& request) {
  std::string url = request.url;
  for (int redirects = 0; redirects <= kMostRedirects; redirects++) {
    BIFRONS_TRY(HttpResponse response, PerformOne(request, url));
    const std::string location = response.header("location");
    if (!response.cut.empty() || !IsRedirect(response.status) || location.empty()) return response;
    const std::string next = Resolved(url, location);
    if (request.head && (response.headers.contains("x-linked-etag") || OriginOf(next) != state_->origin))
      return response;
    if (!next.starts_with("https:") && (state_->secure || !next.starts_with("http:")))
      return DataError(request.url + ": redirected to what is no address, or from https to http");
    url = next;
  }
  return DataError(request.url + ": redirected more than " + std::to_string(kMostRedirects) + " times");
}

}  // namespace bifrons
