// A connection without a socket: bytes in, a log of what the codecs made of them out. Two ways of cutting up
// the same bytes must give the same log.
#pragma once

#include <catenet/http/body_decoder.hpp>
#include <catenet/http/head_parser.hpp>

#include <string>

namespace catenet::test {

class http_codec_session {
 public:
  explicit http_codec_session(http::limits most = {}, std::uint64_t body_max = 1 << 20)
      : most_(most.checked()), body_max_(body_max) {}

  /// Takes all of the input, as a connection must.
  void feed(chain&& input) {
    while (!broken_) {
      if (in_body_ ? !read_body(input) : !read_head(input)) break;
    }
  }

  /// One line an event: "head …", "field …", "body …", "trailer …", "end", "fault …".
  [[nodiscard]] std::string log() const { return log_ + (body_.empty() ? "" : "body " + body_ + "\n"); }
  [[nodiscard]] const http::fault& fault() const { return fault_; }
  [[nodiscard]] int messages() const { return messages_; }
  /// The log of the last complete head.
  [[nodiscard]] const std::string& last_target() const { return last_target_; }
  [[nodiscard]] std::size_t rented_bytes() const { return parser_.rented_bytes(); }

 private:
  bool read_head(chain& input) {
    if (input.empty()) return false;
    switch (parser_.next(input, most_, head_)) {
      case http::head_parser::progress::more:
        if (!input.empty()) log_ += "input was left behind\n";
        return false;
      case http::head_parser::progress::broken:
        return stop(parser_.why());
      case http::head_parser::progress::complete:
        break;
    }
    log_head();
    last_target_ = std::string{head_.target};
    if (parser_.in_place()) input.consume(head_.bytes);
    parser_.reset();
    decoder_ = head_.chunked ? http::body_decoder::of_chunks(body_max_)
                             : http::body_decoder::of_length(head_.content_length);
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
    ++messages_;
    in_body_ = false;
    return true;
  }

  bool stop(const http::fault& why) {
    flush_body();
    fault_ = why;
    broken_ = true;
    log_ += "fault " + std::to_string(why.status) + " " + why.reason + "\n";
    return false;
  }

  void flush_body() {
    if (!body_.empty()) log_ += "body " + body_ + "\n";
    body_.clear();
  }

  void log_head() {
    log_ += "head " + std::string{head_.method_name} + " " + std::string{head_.target} + " 1." +
            std::to_string(head_.minor) + " path=" + std::string{head_.path} +
            " query=" + std::string{head_.query} + " authority=" + std::string{head_.authority} +
            " length=" + std::to_string(head_.content_length) + (head_.chunked ? " chunked" : "") +
            (head_.keep_alive ? " keep" : " close") + (head_.expect_continue ? " expect" : "") +
            (head_.upgrade ? " upgrade" : "") + "\n";
    for (const http::field one : head_.fields)
      log_ += "field " + std::string{one.name} + "=" + std::string{one.value} + "\n";
  }

  http::limits most_;
  std::uint64_t body_max_;
  http::head_parser parser_;
  http::request_head head_;
  http::body_decoder decoder_;
  http::fault fault_;
  std::string log_, body_, last_target_;
  int messages_ = 0;
  bool in_body_ = false;
  bool broken_ = false;
};

}  // namespace catenet::test
