// What `millrace serve` is told: its flags, each with its environment variable and range.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "command_line.h"
#include "model_loading.h"
#include "side_models.h"
#include "tls_flags.h"

namespace millrace {

struct ServeFlags {
  ModelFlags model;
  SideModelFlags side_models;
  TlsFlags tls;
  std::string host = "127.0.0.1";
  uint16_t port = 8080;
  std::vector<std::string> api_keys;
  std::vector<std::string> cors_origins;
  std::vector<std::string> allowed_hosts;
  int32_t max_connections = 4096;
  std::string api_key_file;
  bool insecure = false;
  bool strict = false;
  std::vector<std::string> served_names;
  int32_t max_queue = 256;
  int64_t max_requests_per_key = 0;
  int64_t max_tokens_per_key = 0;
  int64_t max_queued_tokens = 1'000'000;
  int drain_timeout = 30;  // seconds
  std::string log_level = "info";
  std::string log_format = "text";
  std::string metrics_compat = "off";
  bool open_metrics = false;
  bool debug_endpoints = false;
  std::string dashboard = "on";
  std::string record;
  std::string record_texts = "on";
  std::string reduce = "auto";
  double reduce_prune = 1;
  std::vector<std::string> stores;
  std::string store_dir;
};

void AddServeFlags(Verb& verb, ServeFlags& flags);

}  // namespace millrace
