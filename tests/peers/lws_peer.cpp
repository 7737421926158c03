// libwebsockets as a peer.
//
//   lws_peer server                       echoes until standard input ends; prints its port
//   lws_peer client PORT PATH [deflate]   sends messages to an echo and checks what comes back; prints
//   whether
//                                         compression was agreed, and "done"
#include <libwebsockets.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <new>
#include <string>
#include <vector>

namespace {

struct message {
  std::string bytes;
  bool binary = false;
};

struct session {
  std::string incoming;
  std::deque<message>* outgoing;
};

std::vector<message> to_send;  // by the client
std::size_t sent = 0, answered = 0;
int result = -1;  // of the client; -1: not over

const lws_extension deflate[] = {
    {"permessage-deflate", lws_extension_callback_pm_deflate, "permessage-deflate; client_max_window_bits"},
    {nullptr, nullptr, nullptr}};

void end_client(int status, const char* why) {
  if (status != 0) std::fprintf(stderr, "lws_peer: %s\n", why);
  result = status;
}

bool write(lws* wsi, const message& m) {
  std::vector<unsigned char> buffer(LWS_PRE + m.bytes.size());
  std::memcpy(buffer.data() + LWS_PRE, m.bytes.data(), m.bytes.size());
  const int n =
      lws_write(wsi, buffer.data() + LWS_PRE, m.bytes.size(), m.binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
  return n >= static_cast<int>(m.bytes.size());
}

// A whole message, or nothing yet.
bool gather(lws* wsi, std::string& into, const void* in, std::size_t size) {
  into.append(static_cast<const char*>(in), size);
  return lws_is_final_fragment(wsi) != 0 && lws_remaining_packet_payload(wsi) == 0;
}

int serve(lws* wsi, lws_callback_reasons why, void* user, void* in, std::size_t size) {
  auto* s = static_cast<session*>(user);
  switch (why) {
    case LWS_CALLBACK_ESTABLISHED:
      new (s) session{{}, new std::deque<message>};
      break;
    case LWS_CALLBACK_CLOSED:
      delete s->outgoing;
      s->~session();
      break;
    case LWS_CALLBACK_RECEIVE:
      if (!gather(wsi, s->incoming, in, size)) break;
      s->outgoing->push_back({std::move(s->incoming), lws_frame_is_binary(wsi) != 0});
      s->incoming.clear();
      lws_callback_on_writable(wsi);
      break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
      if (s->outgoing->empty()) break;
      if (!write(wsi, s->outgoing->front())) return -1;
      s->outgoing->pop_front();
      if (!s->outgoing->empty()) lws_callback_on_writable(wsi);
      break;
    default:
      break;
  }
  return 0;
}

int ask(lws* wsi, lws_callback_reasons why, void*, void* in, std::size_t size) {
  static std::string incoming;
  switch (why) {
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH: {
      char agreed[256] = "";
      lws_hdr_copy(wsi, agreed, sizeof agreed, WSI_TOKEN_EXTENSIONS);
      std::puts(std::strstr(agreed, "permessage-deflate") != nullptr ? "compressed" : "plain");
      break;
    }
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
      lws_callback_on_writable(wsi);
      break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
      if (sent != answered) break;  // it asks more often than it was asked to
      ++sent;
      if (!write(wsi, to_send[answered])) end_client(1, "a message could not be sent");
      break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
      incoming.append(static_cast<const char*>(in), size);
      if (incoming.size() < to_send[answered].bytes.size()) break;
      if (incoming != to_send[answered].bytes ||
          (lws_frame_is_binary(wsi) != 0) != to_send[answered].binary) {
        end_client(1, ("message " + std::to_string(answered) + " came back as " +
                       std::to_string(incoming.size()) + " bytes")
                          .c_str());
        return -1;
      }
      incoming.clear();
      if (++answered != to_send.size()) {
        lws_callback_on_writable(wsi);
        break;
      }
      lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, nullptr, 0);
      std::puts("done");
      end_client(0, "");
      return -1;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
      end_client(1, in == nullptr ? "no connection" : static_cast<const char*>(in));
      break;
    case LWS_CALLBACK_CLIENT_CLOSED:
      if (result < 0) end_client(1, "the server ended the connection");
      break;
    default:
      break;
  }
  return 0;
}

lws_context* make_context(lws_callback_function* callback, int port, bool compresses) {
  static lws_protocols protocols[] = {{"echo", callback, sizeof(session), 65536, 0, nullptr, 0},
                                      {nullptr, nullptr, 0, 0, 0, nullptr, 0}};
  lws_context_creation_info info{};
  info.port = port;
  info.iface = port == CONTEXT_PORT_NO_LISTEN ? nullptr : "127.0.0.1";
  info.protocols = protocols;
  info.extensions = compresses ? deflate : nullptr;
  info.gid = info.uid = static_cast<decltype(info.gid)>(-1);
  return lws_create_context(&info);
}

int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (bind(fd, reinterpret_cast<sockaddr*>(&at), size) != 0) return -1;
  getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  close(fd);
  return ntohs(at.sin_port);
}

bool input_has_ended() {
  pollfd p{STDIN_FILENO, POLLIN, 0};
  return poll(&p, 1, 0) == 1;
}

int run_server() {
  const int port = free_port();
  lws_context* context = make_context(serve, port, true);
  if (context == nullptr) return 1;
  std::printf("%d\n", port);
  std::fflush(stdout);
  while (!input_has_ended()) {
    // Other than its manual has it, a service with nothing to do may sleep for long: so it is woken.
    lws_cancel_service(context);
    lws_service(context, 0);
    usleep(200);
  }
  lws_context_destroy(context);
  return 0;
}

int run_client(int port, const char* path, bool compresses) {
  to_send = {
      {std::string(256, 'd'), false}, {std::string(70'000, 'e'), false}, {std::string(1'000'000, 'f'), true}};
  // Version 4.1 tells of bytes that never came when a plain message follows a compressed one, as small ones
  // do.
  const std::vector<message> small = {
      {"", false}, {"a", false}, {"Grüße, 世界", false}, {std::string(125, 'c'), true}};
  if (!compresses) to_send.insert(to_send.end(), small.begin(), small.end());
  lws_context* context = make_context(ask, CONTEXT_PORT_NO_LISTEN, compresses);
  if (context == nullptr) return 1;
  lws_client_connect_info to{};
  to.context = context;
  to.address = to.host = to.origin = "127.0.0.1";
  to.port = port;
  to.path = path;
  if (lws_client_connect_via_info(&to) == nullptr && result < 0) end_client(1, "could not begin to connect");
  while (result < 0) lws_service(context, 0);
  lws_context_destroy(context);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  lws_set_log_level(LLL_ERR, nullptr);
  if (argc == 2 && std::strcmp(argv[1], "server") == 0) return run_server();
  if (argc >= 4 && std::strcmp(argv[1], "client") == 0)
    return run_client(std::atoi(argv[2]), argv[3], argc > 4 && std::strcmp(argv[4], "deflate") == 0);
  std::fputs("usage: lws_peer server | lws_peer client PORT PATH [deflate]\n", stderr);
  return 2;
}
