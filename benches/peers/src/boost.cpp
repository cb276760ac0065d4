// Boost.Interprocess behind a C interface: its locks are made in memory that the caller gives, its queues in their own.
//
// An exception ends the program here; none of these calls throws while it is used as it is meant.
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/interprocess_semaphore.hpp>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>

#include <cstddef>
#include <new>

using namespace boost::interprocess;

// Makes a T at `place`, if it fits into `size` bytes that are aligned to 64.
template <class T, class... Arguments>
static bool make(void *place, std::size_t size, Arguments... arguments) noexcept {
    static_assert(alignof(T) <= 64, "places are aligned to 64");
    return sizeof(T) <= size && new (place) T(arguments...);
}

template <class T> static T &at(void *place) noexcept { return *static_cast<T *>(place); }

extern "C" {
bool ipc_boost_mutex(void *place, std::size_t size) noexcept { return make<interprocess_mutex>(place, size); }
void ipc_boost_mutex_lock(void *place) noexcept { at<interprocess_mutex>(place).lock(); }
void ipc_boost_mutex_unlock(void *place) noexcept { at<interprocess_mutex>(place).unlock(); }

bool ipc_boost_sharable(void *place, std::size_t size) noexcept { return make<interprocess_sharable_mutex>(place, size); }
void ipc_boost_sharable_lock(void *place) noexcept { at<interprocess_sharable_mutex>(place).lock(); }
void ipc_boost_sharable_unlock(void *place) noexcept { at<interprocess_sharable_mutex>(place).unlock(); }
void ipc_boost_sharable_lock_shared(void *place) noexcept { at<interprocess_sharable_mutex>(place).lock_sharable(); }
void ipc_boost_sharable_unlock_shared(void *place) noexcept { at<interprocess_sharable_mutex>(place).unlock_sharable(); }

bool ipc_boost_semaphore(void *place, std::size_t size, unsigned permits) noexcept {
    return make<interprocess_semaphore>(place, size, permits);
}
void ipc_boost_semaphore_wait(void *place) noexcept { at<interprocess_semaphore>(place).wait(); }
bool ipc_boost_semaphore_try_wait(void *place) noexcept { return at<interprocess_semaphore>(place).try_wait(); }
void ipc_boost_semaphore_post(void *place) noexcept { at<interprocess_semaphore>(place).post(); }

// The mapping stays, and children inherit it.
void *ipc_boost_queue(const char *name, std::size_t most, std::size_t size) noexcept {
    auto *queue = new message_queue(create_only, name, most, size);
    message_queue::remove(name);
    return queue;
}
void ipc_boost_queue_send(void *queue, const void *message, std::size_t size) noexcept {
    static_cast<message_queue *>(queue)->send(message, size, 0);
}
std::size_t ipc_boost_queue_receive(void *queue, void *message, std::size_t size) noexcept {
    message_queue::size_type received = 0;
    unsigned priority = 0;
    static_cast<message_queue *>(queue)->receive(message, size, received, priority);
    return received;
}
}
