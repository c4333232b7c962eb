// The dashboard's page and what it asks for. Internal to server/.
#pragma once

#include <functional>

#include "http/message.h"
#include "server/live_feed.h"
#include "server/request_context.h"

namespace millrace::server_internal {

// Serves `file`: compressed where the client takes that, with an ETag, and under a policy that
// allows the page nothing but its own files and this server.
std::function<void(const ContextPointer&, const HttpRequest&)> WebPage(const WebFile& file);

// GET /debug/about: the model and the switches.
void HandleAbout(const ContextPointer& context, const HttpRequest& request);

// GET /debug/samples: some questions that the model can answer.
void HandleSamples(const ContextPointer& context, const HttpRequest& request);

// POST /debug/attention {"tokens": N}: standard and flash attention, measured now, one at a time.
void HandleAttention(const ContextPointer& context, const HttpRequest& request);

// POST /debug/measure {"switches": [...], "minutes": M} starts a measurement, GET tells how far it
// is, with the report once it is done, DELETE cancels it.
void HandleMeasureStart(const ContextPointer& context, const HttpRequest& request);
void HandleMeasureState(const ContextPointer& context, const HttpRequest& request);
void HandleMeasureCancel(const ContextPointer& context, const HttpRequest& request);

// GET /debug/comparison: the table of precisions that is built in.
void HandleComparison(const ContextPointer& context, const HttpRequest& request);

// GET /debug/events?topics=...
void WatchFeed(LiveFeed& feed, const ContextPointer& context, const HttpRequest& request);

}  // namespace millrace::server_internal
