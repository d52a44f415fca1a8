// The queue through which other threads reach a reactor.
//
// Ownership: the queue owns nothing; a node must live until it has been run.
#pragma once

#include "kyro/base/mpsc_queue.h"

namespace kyro {

// Something to be run once on the reactor's thread.
class QueueNode {
 public:
  virtual ~QueueNode() = default;
  virtual void run_queued() = 0;
  QueueNode* next_queued = nullptr;
};

using TaskQueue = MpscQueue<QueueNode>;

}  // namespace kyro
