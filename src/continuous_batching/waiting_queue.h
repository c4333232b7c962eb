// WaitingQueue: in which order the sequences that wait may begin.
//
// Three rules, one inside the other:
// 1. Sequences that were preempted come back first, in order of arrival.
// 2. Between clients (API keys): the one that was served least begins. Source: Virtual Token
// Counter
//    (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024, algorithm 2): each
//    client has a counter, raised by kInputWeight for every prompt token that is computed for it
//    and by kOutputWeight for every token generated; a client that comes (back) to the queue is
//    lifted to the least counter of those who wait there, or to that of the client who left it
//    last.
// 3. Among a client's own: higher priorities first, then order of arrival. But after `max_passes`
//    sequences in a row that began before the client's oldest one, that one is next.
//
// Invariants: while two clients both wait, what they are served differs by 2 * max(kInputWeight *
// longest prompt, kOutputWeight * tokens that run together) at most (theorem 4.4 there), as far as
// nobody waits of his own will (see Scheduler). A sequence with k older ones of its client before
// it begins within (k + 1) * (max_passes + 1) of its client's. Among equals of one client nobody is
// overtaken more than `max_overtakes` times. No clock is read.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/id.h"

namespace millrace {

struct WaitingQueueConfig {
  int32_t reorder_window = 8;  // sequences of one turn
  int32_t max_overtakes = 8;
  int32_t max_passes = 8;
};

class WaitingQueue {
 public:
  static constexpr int64_t kInputWeight = 1;
  static constexpr int64_t kOutputWeight = 2;

  // Sequences of one client and one priority, first come first: any may begin now.
  struct Turn {
    std::vector<RequestId> requests;
    bool due = false;  // none may wait for something: it was preempted, or passed over too often
  };

  explicit WaitingQueue(const WaitingQueueConfig& config) : config_(config) {}

  // Clients are remembered for good: there are as many as API keys.
  void Add(RequestId request, const std::string& client, int32_t priority);
  // It has begun, and `computed` tokens of its prompt are going to be computed. Until Erase, the
  // queue knows whose it is.
  void Begin(RequestId request, int64_t computed);
  // A fork of what has begun: waits with the preempted ones, behind those that are there.
  void AddBegun(RequestId request, const std::string& client);
  // It was preempted: waits again, before everything that has not begun.
  void PutBack(RequestId request);
  // A running sequence was given `tokens` tokens.
  void Generated(RequestId request, int64_t tokens);
  // It is gone, whether it waited or ran.
  void Erase(RequestId request);

  // Whose turn it is: the first is the one that should begin; the further ones (of other clients)
  // are for when that cannot. None is empty.
  std::vector<Turn> Turns() const;
  bool MayBeOvertaken(RequestId request) const;
  bool IsWaiting(RequestId request) const;
  bool empty() const { return size_ == 0; }
  int32_t size() const { return size_; }
  // The client's counter.
  int64_t Served(const std::string& client) const;

 private:
  using Place = std::pair<int32_t, int64_t>;  // minus priority, arrival
  struct Client {
    int64_t served = 0;
    int32_t passed = 0;  // began since the oldest that waits was the oldest
    std::map<Place, RequestId> by_priority;
    std::map<int64_t, RequestId> by_arrival;  // the same
  };
  struct Entry {
    Client* client = nullptr;
    Place place;
    int32_t overtaken = 0;
    bool waiting = true;
    bool preempted = false;  // waits in preempted_
  };

  void Lift(Client& client) const;
  void Leave(Entry& entry);
  Turn TurnOf(const Client& client) const;

  WaitingQueueConfig config_;
  std::unordered_map<std::string, Client> clients_;  // nodes stay where they are
  std::vector<Client*> waiting_clients_;
  const Client* last_left_ = nullptr;  // whose sequence left the queue last
  std::unordered_map<RequestId, Entry> entries_;
  std::deque<RequestId> preempted_;
  int64_t arrivals_ = 0;
  int32_t size_ = 0;
};

}  // namespace millrace
