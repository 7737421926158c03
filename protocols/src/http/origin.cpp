// Origins and errors of the client as text.
#include <catenet/http/client_error.hpp>
#include <catenet/http/origin.hpp>

namespace catenet::http {

error origin::parse(std::string_view text, origin& into) {
  constexpr std::string_view scheme = "http://";
  const std::string_view given = text;
  std::string address{text};
  if (text.starts_with(scheme)) {
    text.remove_prefix(scheme.size());
    if (text.ends_with('/')) text.remove_suffix(1);
    address = text;
    const std::size_t behind_host = address.starts_with('[') ? address.find(']') : 0;
    if (address.find(':', behind_host == std::string::npos ? 0 : behind_host) == std::string::npos)
      address += ":80";
  } else if (text.find("://") != std::string_view::npos) {
    return {"parse origin", "\"" + std::string{given} + "\"", 0, "only http:// is spoken"};
  }
  origin made;
  if (error e = endpoint::parse(address, made.where_)) return e;
  made.authority_ = made.where_.is_unix() ? "localhost" : std::string{text};
  made.key_ = made.where_.text();
  into = std::move(made);
  return {};
}

std::string client_error::text() const {
  std::string all = reason;
  if (code != 0) all += ": " + errno_text(code);
  return all;
}

}  // namespace catenet::http
