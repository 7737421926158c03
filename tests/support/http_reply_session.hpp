// A client's connection without a socket: bytes in, a log of what the codecs made of them out. Two ways of
// cutting up the same bytes must give the same log.
#pragma once

#include <catenet/http/body_decoder.hpp>
#include <catenet/http/reply_parser.hpp>

#include <string>

namespace catenet::test {

/// Takes answers to as many requests as come; the first is to HEAD when asked for.
class http_reply_session {
 public:
  explicit http_reply_session(bool to_head = false, http::limits most = {}, std::uint64_t body_max = 1 << 20)
      : most_(most.checked()), body_max_(body_max), to_head_(to_head) {}

  void feed(chain&& input) {
    while (!broken_ && (in_body_ ? read_body(input) : read_head(input))) {
    }
  }

  /// The connection has ended. Completes a body that ends with it.
  void end() {
    if (broken_) return;
    flush_body();
    const bool between = !in_body_ && parser_.untouched();
    if (!between) log_ += in_body_ && until_end_ ? "end\n" : "premature end\n";
    if (in_body_ && until_end_) ++replies_;
  }

  /// One line an event: "head …", "field …", "body …", "trailer …", "end", "fault …".
  [[nodiscard]] std::string log() const { return log_ + (body_.empty() ? "" : "body " + body_ + "\n"); }
  [[nodiscard]] int replies() const { return replies_; }
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  bool read_head(chain& input) {
    if (input.empty()) return false;
    switch (parser_.next(input, most_, head_)) {
      case http::reply_parser::progress::more:
        if (!input.empty()) log_ += "input was left behind\n";
        return false;
      case http::reply_parser::progress::broken:
        return stop(parser_.why());
      case http::reply_parser::progress::complete:
        break;
    }
    log_head();
    const http::reply_body how = head_.body(to_head_);
    parser_.reset();
    if (head_.informational()) return true;
    to_head_ = false;
    until_end_ = how == http::reply_body::until_end;
    decoder_ = how == http::reply_body::chunks   ? http::body_decoder::of_chunks(body_max_)
               : how == http::reply_body::length ? http::body_decoder::of_length(head_.content_length)
               : until_end_                      ? http::body_decoder::until_end(body_max_)
                                                 : http::body_decoder{};
    in_body_ = true;
    return true;
  }

  bool read_body(chain& input) {
    chain part;
    const auto p = decoder_.next(input, part, most_);
    if (part.validate() != nullptr || input.validate() != nullptr) log_ += "a chain is broken\n";
    body_ += part.to_string();
    switch (p) {
      case http::body_decoder::progress::more:
        if (!input.empty()) log_ += "input was left behind\n";
        return false;
      case http::body_decoder::progress::full:
        log_ += "full without a limit\n";
        return false;
      case http::body_decoder::progress::broken:
        return stop(decoder_.why());
      case http::body_decoder::progress::end:
        break;
    }
    flush_body();
    if (decoder_.trailers() != nullptr)
      decoder_.trailers()->for_each([&](const http::field& one) {
        log_ += "trailer " + std::string{one.name} + "=" + std::string{one.value} + "\n";
      });
    log_ += "end\n";
    ++replies_;
    in_body_ = false;
    return true;
  }

  bool stop(const http::fault& why) {
    flush_body();
    broken_ = true;
    log_ += "fault " + std::to_string(why.status) + " " + why.reason + "\n";
    return false;
  }

  void flush_body() {
    if (!body_.empty()) log_ += "body " + body_ + "\n";
    body_.clear();
  }

  void log_head() {
    log_ += "head " + std::to_string(head_.status) + " '" + std::string{head_.reason} + "' 1." +
            std::to_string(head_.minor) + " length=" + std::to_string(head_.content_length) +
            (head_.has_length ? "!" : "") + (head_.chunked ? " chunked" : "") +
            (head_.keep_alive ? " keep" : " close") + " bytes=" + std::to_string(head_.bytes) + "\n";
    for (const http::field one : head_.fields)
      log_ += "field " + std::string{one.name} + "=" + std::string{one.value} + "\n";
  }

  http::limits most_;
  std::uint64_t body_max_;
  bool to_head_;
  http::reply_parser parser_;
  http::reply_head head_;
  http::body_decoder decoder_;
  std::string log_, body_;
  int replies_ = 0;
  bool in_body_ = false;
  bool until_end_ = false;
  bool broken_ = false;
};

}  // namespace catenet::test
