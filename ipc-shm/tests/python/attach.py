#!/usr/bin/env python3
"""Attaches to a region of ipc-shm and takes part in its rings, as docs/LAYOUT.md says: the standard library only.

It is a test, and an example for other languages. The atomic words are read and written through ctypes, as one aligned
access of 8 bytes each. On x86-64 that is enough: the processor keeps loads and stores in the order that acquire and
release ask for, and the interpreter moves none of them across another. Elsewhere it is not, so this program refuses.
A compare-exchange is no plain access anywhere; Python has none, so two short functions of machine code do it.

usage: attach.py FD check             says what is in the region
       attach.py FD value PLACE       reads the doubles of a RawValue
       attach.py FD add PLACE NUMBER  adds to an Atomic<AtomicU64>, and says what was there
       attach.py FD push FROM TO      becomes the producer of the ring, and pushes the messages of these numbers
       attach.py FD pop COUNT         becomes the consumer of the ring, and says what comes
       attach.py FD pop-and-die COUNT the same, but its end is SIGKILL, with the role in its hands

FD is the number of a descriptor, or the name of a region in /dev/shm.
"""

import ctypes
import fcntl
import mmap
import os
import platform
import select
import signal
import stat
import struct
import sys

MAGIC = b"ipc-shm\0"
READY = CLOSED = 1 << 63
PLAIN, POLLABLE = 2, 4
HEADER = struct.Struct("=8sQHHIQIIQQQQIII")
ENTRY = struct.Struct("=QQIIQ")
DIRECTORY, PAYLOAD, ENTRIES, LINE = 1024, 4096, 96, 128
RAW, PLANNED, SPSC, INDEXED, BYTES = 1, 2, 3, 4, 5
PID_MASK = (1 << 22) - 1
INCARNATION_MASK = (1 << 40) - 1
TICKS = 1 << 62
DOMAIN_MASK = MIXED = (1 << 30) - 1
PIDFS, TMPFS = 0x50494446, 0x01021994
WORDS = 1 << 64
LIBC = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """Why the region, or one end of its ring, was not taken."""


def fnv(data, start=0xCBF29CE484222325):
    """FNV-1a with 64 bits."""
    for byte in data:
        start = (start ^ byte) * 0x100000001B3 % WORDS
    return start


# Atomic words.


def function(code, *arguments):
    """Machine code as a function."""
    page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    if LIBC.mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError(ctypes.get_errno(), "mprotect")
    found = ctypes.CFUNCTYPE(*arguments)(address)
    found.page = page
    return found


# mov rax, rsi; lock cmpxchg [rdi], rdx; ret
EXCHANGE_64 = function(
    bytes.fromhex("4889f0 f0480fb117 c3"), ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64
)
# mov eax, esi; lock cmpxchg [rdi], edx; ret
EXCHANGE_32 = function(
    bytes.fromhex("89f0 f00fb117 c3"), ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32
)


class Word:
    """An atomic word at an address: acquire, release, and compare-exchange."""

    def __init__(self, address, kind=ctypes.c_uint64, exchange=EXCHANGE_64):
        assert address % ctypes.sizeof(kind) == 0
        self.address, self.word, self.exchange = address, kind.from_address(address), exchange

    def load(self):
        return self.word.value

    def store(self, value):
        self.word.value = value % WORDS

    def compare_exchange(self, expected, new):
        """Whether it was `expected`, and is `new` now."""
        return self.exchange(self.address, expected, new) == expected


# Processes.


def file_system(fd):
    """The magic of linux/magic.h."""
    buffer = (ctypes.c_long * 64)()
    if LIBC.fstatfs(fd, buffer):
        raise OSError(ctypes.get_errno(), "fstatfs")
    return buffer[0]


def incarnation(pid, pidfd):
    """Bits 22 to 62 of the word of a process, by the best source that there is."""
    if file_system(pidfd) == PIDFS:
        return (os.fstat(pidfd).st_ino & INCARNATION_MASK) << 22
    with open(f"/proc/{pid}/stat", "rb") as file:
        # Field 22; the second one is a name in parentheses, and may hold anything.
        start = int(file.read().rpartition(b")")[2].split()[19])
    return (start & INCARNATION_MASK) << 22 | TICKS


def process_word():
    """The word of this process."""
    pid = os.getpid()
    pidfd = os.pidfd_open(pid)
    try:
        return pid | incarnation(pid, pidfd)
    finally:
        os.close(pidfd)


def domain():
    """The pid namespace of this process."""
    return os.stat("/proc/self/ns/pid").st_ino & DOMAIN_MASK


def is_process(word):
    return word < READY and word & PID_MASK != 0


def is_dead(word):
    """Whether the kernel says so; anything else, also not to know, is no."""
    pid = word & PID_MASK
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError as error:
        # A thread of somebody else has the number now.
        return error.errno in (22, 2)
    try:
        if incarnation(pid, pidfd) | pid != word:
            return True
        return bool(select.select([pidfd], [], [], 0)[0])
    except OSError:
        return False
    finally:
        os.close(pidfd)


# Regions.


class Place:
    def __init__(self, *fields):
        self.offset, self.count, self.size, self.align, self.type = fields


class Region:
    """A region that was checked, in the order of docs/LAYOUT.md, and mapped."""

    def __init__(self, which):
        """The region behind a descriptor, or the one that has this name."""
        fd = int(which) if which.isdigit() else self.named(which)
        self.check(fd, which.isdigit())
        self.map = mmap.mmap(fd, self.length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        if Word(self.base + 8).load() != READY:
            raise Refused("not ready")

    @staticmethod
    def named(name):
        """A file of our own user, which nobody else may open."""
        fd = os.open(f"/dev/shm/{name}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        found = os.fstat(fd)
        private = stat.S_ISREG(found.st_mode) and found.st_mode & 0o077 == 0 and found.st_nlink == 1
        if not private or found.st_uid != os.geteuid() or file_system(fd) != TMPFS:
            raise Refused("not a file of ours")
        return fd

    def check(self, fd, sealed):
        f_get_seals, shrink_and_grow, no_writing = 1034, 2 | 4, 8 | 16
        try:
            seals = fcntl.fcntl(fd, f_get_seals)
        except OSError:
            raise Refused("not a file in memory") from None
        if sealed and seals & shrink_and_grow != shrink_and_grow:
            raise Refused("not sealed")
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDWR or seals & no_writing:
            raise Refused("read only")
        self.length = os.fstat(fd).st_size
        if self.length <= PAYLOAD:
            raise Refused("too small")
        fields = HEADER.unpack(os.pread(fd, HEADER.size, 0))
        magic, init, major, minor, arch, found, self.kind, page, total, payload, self.size = fields[:11]
        self.creator, self.domain, entries, line = fields[11:]
        order = sys.byteorder
        if magic == (MAGIC if order == "big" else MAGIC[::-1]):
            raise Refused("the other byte order")
        if magic != (MAGIC if order == "little" else MAGIC[::-1]):
            raise Refused("not a region")
        if init != READY:
            raise Refused("not ready")
        if (major, minor) != (1, 0):
            raise Refused(f"version {major}.{minor}")
        if arch != (0x4C450000 if order == "little" else 0x42450000) | ctypes.sizeof(ctypes.c_void_p) * 8:
            raise Refused("another architecture")
        if page != mmap.PAGESIZE:
            raise Refused("another page size")
        if line != LINE:
            raise Refused("another distance of places")
        if total > self.length:
            raise Refused("too small")
        sound = payload == PAYLOAD and 0 < self.size <= total - payload
        if not sound or entries > ENTRIES or self.domain == 0 or not is_process(self.creator):
            raise Refused("corrupt")
        if self.kind not in (RAW, PLANNED, SPSC, INDEXED, BYTES):
            raise Refused("corrupt")
        directory = os.pread(fd, entries * ENTRY.size, DIRECTORY)
        self.places = [Place(*entry) for entry in ENTRY.iter_unpack(directory)]
        free = 0
        for place in self.places:
            end = place.offset + place.count * place.size
            if place.align.bit_count() != 1 or place.offset % place.align or not free <= place.offset < end <= self.size:
                raise Refused("corrupt directory")
            free = end
        self.hash = fnv(directory, fnv(struct.pack("<QQQ", major, self.kind, self.size)))
        if self.hash != found:
            raise Refused("another hash")

    def place(self, index, type_name, size, align):
        """The address of the place, if it is for values of this type."""
        place = self.places[index]
        if (place.size, place.align, place.type) != (size, align, fnv(type_name.encode())):
            raise Refused(f"place {index} is no {type_name}")
        return self.base + PAYLOAD + place.offset

    def address(self, index):
        return self.base + PAYLOAD + self.places[index].offset


# Rings.


class Role:
    """One end of a ring, claimed by this process."""

    def __init__(self, roles, which):
        self.word = Word(roles + which)
        self.domain = Word(roles + 16, ctypes.c_uint32, EXCHANGE_32)
        self.me = process_word()
        self.settle(Word(roles + 20, ctypes.c_uint32, EXCHANGE_32))
        while True:
            seen = self.word.load()
            if seen not in (0, CLOSED):
                if not is_process(seen):
                    raise Refused("damaged role")
                if seen == self.me or not self.judges() or not is_dead(seen):
                    raise Refused(f"taken by process {seen & PID_MASK}")
            self.admit()
            if self.word.compare_exchange(seen, self.me):
                return

    def settle(self, waiting):
        """The ring is plain, or it has sockets, which this has not."""
        while True:
            seen = waiting.load()
            if seen & POLLABLE:
                raise Refused("pollable, and its socket is not here")
            if seen & PLAIN or waiting.compare_exchange(seen, seen | PLAIN):
                return

    def judges(self):
        return self.domain.load() & DOMAIN_MASK == domain()

    def admit(self):
        """Before the claim, so that whoever sees that knows in which namespace it is."""
        while True:
            seen = self.domain.load()
            ours = {0: seen | domain(), domain(): seen}.get(seen & DOMAIN_MASK, seen | MIXED)
            if ours == seen or self.domain.compare_exchange(seen, ours):
                return

    def close(self):
        self.word.compare_exchange(self.me, CLOSED)


PRODUCER, CONSUMER = 0, 8


class Stamped:
    """A sequence in every slot."""

    head = "ipc_shm::layout::Roles", 128, 128

    def __init__(self, region, which):
        slots = region.places[1]
        self.capacity, self.slot = slots.count, slots.size
        # The sequence is behind the message.
        self.size = self.slot - slots.align
        self.first = region.address(1)
        self.role = Role(region.place(0, *self.head), which)
        add = 1 if which == PRODUCER else 0
        laps = [((self.sequence(i).load() + add) % WORDS) // 2 for i in range(self.capacity)]
        ahead, behind = laps[0], (laps[0] - 1) % (WORDS // 2)
        self.index = laps.index(behind) if behind in laps else 0
        self.lap = behind if self.index else ahead
        border = self.index or self.capacity
        if laps != [ahead] * border + [behind] * (self.capacity - border):
            self.role.close()
            raise Refused("damaged ring")

    def sequence(self, index):
        return Word(self.first + index * self.slot + self.size)

    def advance(self):
        self.index += 1
        if self.index == self.capacity:
            self.index, self.lap = 0, (self.lap + 1) % (WORDS // 2)

    def push(self, message):
        """Whether there was room."""
        word, free = self.sequence(self.index), 2 * self.lap
        found = word.load()
        if found == (free - 1) % WORDS:
            return False
        if found != free:
            raise Refused("damaged ring")
        ctypes.memmove(word.address - self.size, message, len(message))
        word.store(free + 1)
        self.advance()
        return True

    def pop(self):
        """A message, or None."""
        word, free = self.sequence(self.index), 2 * self.lap
        found = word.load()
        if found == free:
            return None
        if found != free + 1:
            raise Refused("damaged ring")
        message = ctypes.string_at(word.address - self.size, self.size)
        word.store(free + 2)
        self.advance()
        return message

    def message(self, number):
        return struct.pack("=Q", number % WORDS) * (self.size // 8)


class Indexed:
    """Two positions."""

    head = "ipc_shm::layout::Indexes", 384, 128

    def __init__(self, region, which):
        slots = region.places[1]
        self.capacity, self.size, self.first = slots.count, slots.size, region.address(1)
        if self.capacity.bit_count() != 1:
            raise Refused("a capacity that is no power of two")
        head = region.place(0, *self.head)
        self.role = Role(head, which)
        tail, head = Word(head + 128), Word(head + 256)
        self.ours, self.theirs = (tail, head) if which == PRODUCER else (head, tail)
        self.position = self.ours.load()
        self.reach = self.capacity if which == PRODUCER else 0
        try:
            self.ready()
        except Refused:
            self.role.close()
            raise

    def ready(self):
        """How many slots are ours from the position on."""
        found = (self.theirs.load() + self.reach - self.position) % WORDS
        if found > self.capacity:
            raise Refused("damaged ring")
        return found

    def slot(self, offset):
        return self.first + (self.position + offset) % self.capacity * self.size

    def advance(self, count):
        self.position = (self.position + count) % WORDS
        self.ours.store(self.position)

    def push(self, message):
        if not self.ready():
            return False
        ctypes.memmove(self.slot(0), message, len(message))
        self.advance(1)
        return True

    def pop(self):
        if not self.ready():
            return None
        message = ctypes.string_at(self.slot(0), self.size)
        self.advance(1)
        return message

    message = Stamped.message


class Records(Indexed):
    """Records in the words of an indexed ring."""

    def push(self, message):
        """A message is its tag, 4 bytes, and its bytes."""
        record = struct.pack("=I", len(message) + 4) + message
        record += bytes(-len(record) % 8)
        words = len(record) // 8
        if words > self.ready():
            return False
        for word in range(words):
            ctypes.memmove(self.slot(word), record[8 * word :], 8)
        self.advance(words)
        return True

    def pop(self):
        ready = self.ready()
        if not ready:
            return None
        (size,) = struct.unpack("=I", ctypes.string_at(self.slot(0), 4))
        words = (size + 7) // 8
        if size < 8 or words > ready:
            raise Refused("damaged ring")
        record = b"".join(ctypes.string_at(self.slot(word), 8) for word in range(words))[:size]
        self.advance(words)
        return record[4:]

    def message(self, number):
        return struct.pack("=I", number) + bytes([number & 255]) * (number % 50)


def ring(region, which):
    kinds = {SPSC: Stamped, INDEXED: Indexed, BYTES: Records}
    if region.kind not in kinds or len(region.places) != 2:
        raise Refused("no ring")
    return kinds[region.kind](region, which)


# Commands.


def check(region):
    print(f"kind {region.kind} size {region.size} hash {region.hash:#018x} by {region.creator & PID_MASK}")
    for place in region.places:
        print(place.offset, place.count, place.size, place.align, f"{place.type:#018x}")


def value(region, index):
    count = region.places[index].size // 8
    address = region.place(index, f"ipc_shm::raw_value::RawValue<[f64; {count}]>", 8 * count, 8)
    words = (Word(address + 8 * i).load() for i in range(count))
    print(*(struct.unpack("=d", struct.pack("=Q", word))[0] for word in words))


def add(region, index, number):
    if (region.places[index].size, region.places[index].align) != (8, 8):
        raise Refused("no atomic of 8 bytes")
    word = Word(region.address(index))
    while True:
        seen = word.load()
        if word.compare_exchange(seen, (seen + number) % WORDS):
            return print(seen)


def push(region, begin, end):
    producer = ring(region, PRODUCER)
    for number in range(begin, end):
        while not producer.push(producer.message(number)):
            os.sched_yield()
    producer.role.close()


def pop(region, count, die=False):
    consumer = ring(region, CONSUMER)
    messages = []
    while len(messages) < count:
        message = consumer.pop()
        if message is None:
            os.sched_yield()
        else:
            messages.append(message)
    if die:
        os.kill(os.getpid(), signal.SIGKILL)
    consumer.role.close()
    # Not before: who pushes need not read this meanwhile.
    for message in messages:
        print(message.hex())


def main(region, command, *arguments):
    # Whatever goes wrong, nobody waits for this for ever.
    signal.alarm(50)
    if platform.machine() != "x86_64":
        raise Refused("plain loads and stores suffice on x86-64 only")
    commands = {"check": check, "value": value, "add": add, "push": push, "pop": pop}
    if command == "pop-and-die":
        return pop(Region(region), int(arguments[0]), die=True)
    commands[command](Region(region), *map(int, arguments))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Refused as why:
        print(f"refused: {why}")
        sys.exit(1)
