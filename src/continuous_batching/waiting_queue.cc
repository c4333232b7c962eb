#include "continuous_batching/waiting_queue.h"

#include <algorithm>

#include "base/check.h"

namespace millrace {

void WaitingQueue::Add(RequestId request, const std::string& client_name, int32_t priority) {
  Client& client = clients_[client_name];
  const Place place = {-priority, arrivals_++};
  const auto [node, inserted] =
      entries_.try_emplace(request, Entry{.client = &client, .place = place});
  CHECK(inserted);
  if (client.by_arrival.empty()) {
    Lift(client);
    waiting_clients_.push_back(&client);
  }
  client.by_priority.emplace(place, request);
  client.by_arrival.emplace(place.second, request);
  ++size_;
}

void WaitingQueue::AddBegun(RequestId request, const std::string& client) {
  const auto [node, inserted] = entries_.try_emplace(
      request, Entry{.client = &clients_[client], .place = {0, arrivals_++}, .preempted = true});
  CHECK(inserted);
  preempted_.push_back(request);
  ++size_;
}

// So that nobody saves up claims while he asks for nothing, and nobody pays for what he had while
// nobody else wanted it.
void WaitingQueue::Lift(Client& client) const {
  if (waiting_clients_.empty()) {
    if (last_left_ != nullptr) client.served = std::max(client.served, last_left_->served);
    return;
  }
  const auto least =
      std::min_element(waiting_clients_.begin(), waiting_clients_.end(),
                       [](const Client* a, const Client* b) { return a->served < b->served; });
  client.served = std::max(client.served, (*least)->served);
}

void WaitingQueue::Begin(RequestId request, int64_t computed) {
  Entry& entry = entries_.at(request);
  CHECK(entry.waiting);
  if (entry.preempted) {
    std::erase(preempted_, request);
    entry.preempted = entry.waiting = false;
    --size_;
    return;
  }
  Client& client = *entry.client;
  const auto own = client.by_priority.find(entry.place);
  for (auto at = own; at != client.by_priority.begin();) {
    --at;
    if (at->first.first != entry.place.first) break;
    ++entries_.at(at->second).overtaken;
  }
  const bool is_oldest = client.by_arrival.begin()->second == request;
  Leave(entry);
  client.passed = is_oldest ? 0 : client.passed + 1;
  client.served += kInputWeight * computed;
}

void WaitingQueue::Leave(Entry& entry) {
  Client& client = *entry.client;
  if (client.by_arrival.begin()->first == entry.place.second) client.passed = 0;
  client.by_priority.erase(entry.place);
  client.by_arrival.erase(entry.place.second);
  entry.waiting = false;
  --size_;
  last_left_ = &client;
  if (client.by_arrival.empty()) std::erase(waiting_clients_, &client);
}

void WaitingQueue::PutBack(RequestId request) {
  Entry& entry = entries_.at(request);
  CHECK(!entry.waiting);
  entry.waiting = entry.preempted = true;
  preempted_.push_front(request);
  ++size_;
}

void WaitingQueue::Generated(RequestId request, int64_t tokens) {
  entries_.at(request).client->served += kOutputWeight * tokens;
}

void WaitingQueue::Erase(RequestId request) {
  const auto node = entries_.find(request);
  CHECK(node != entries_.end());
  Entry& entry = node->second;
  if (entry.preempted) {
    std::erase(preempted_, request);
    --size_;
  } else if (entry.waiting) {
    Leave(entry);
  }
  entries_.erase(node);
}

std::vector<WaitingQueue::Turn> WaitingQueue::Turns() const {
  if (!preempted_.empty()) return {{.requests = {preempted_.front()}, .due = true}};
  std::vector<const Client*> order(waiting_clients_.begin(), waiting_clients_.end());
  const auto count = std::min(order.size(), static_cast<size_t>(config_.reorder_window));
  const auto before = [](const Client* a, const Client* b) {
    if (a->served != b->served) return a->served < b->served;
    return a->by_arrival.begin()->first < b->by_arrival.begin()->first;
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    before);
  std::vector<Turn> turns;
  for (size_t i = 0; i < count; ++i) turns.push_back(TurnOf(*order[i]));
  return turns;
}

WaitingQueue::Turn WaitingQueue::TurnOf(const Client& client) const {
  if (client.passed >= config_.max_passes) {
    return {.requests = {client.by_arrival.begin()->second}, .due = true};
  }
  Turn turn;
  const int32_t highest = client.by_priority.begin()->first.first;
  for (const auto& [place, request] : client.by_priority) {
    if (place.first != highest) break;
    turn.requests.push_back(request);
    if (static_cast<int32_t>(turn.requests.size()) == config_.reorder_window) break;
    if (!MayBeOvertaken(request)) break;
  }
  return turn;
}

bool WaitingQueue::MayBeOvertaken(RequestId request) const {
  const Entry& entry = entries_.at(request);
  return !entry.preempted && entry.overtaken < config_.max_overtakes;
}

bool WaitingQueue::IsWaiting(RequestId request) const { return entries_.at(request).waiting; }

int64_t WaitingQueue::Served(const std::string& client) const {
  const auto found = clients_.find(client);
  return found == clients_.end() ? 0 : found->second.served;
}

}  // namespace millrace
