// WebSocket endpoints of an HTTP server: all that a program needs which has some.
//
//   web.websocket("/chat", {.max_message = 64_KiB,
//                           .open = [](ws::connection& c) { c.subscribe("room"); },
//                           .message = [](ws::connection& c, ws::message m) { c.publish("room", m); }});
#pragma once

#include <catenet/http/server.hpp>
#include <catenet/ws/connection.hpp>
#include <catenet/ws/hub.hpp>
#include <catenet/ws/message.hpp>
#include <catenet/ws/options.hpp>
