// Whoever wants to be told which keys are written.
//
// After a group has become visible, its committer asks is_listening(), and only if that is so calls
// on_write() for each key of the group. A listener that begins to listen and then looks at a key
// misses nothing: either it sees the write, or it is told of it. For that it has to order the two:
//
//   committer: show the group, fence, is_listening()        listener: begin, fence, look
//
// with sequentially consistent fences.
//
// Thread rule: called on whichever thread commits, which must not wait. Ownership: the listener
// outlives the engine.
#pragma once

#include <cstdint>

namespace kyro {

class KeyListener {
 public:
  [[nodiscard]] virtual bool is_listening() const = 0;
  virtual void on_write(uint64_t key) = 0;

 protected:
  ~KeyListener() = default;
};

}  // namespace kyro
