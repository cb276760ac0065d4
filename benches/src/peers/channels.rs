//! Queues and channels of other crates, which any number of threads may use; none leaves its process.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::payload::Message;
use crate::queue::{Idle, Queue};
use crate::subject::Sides;

impl<const N: usize> Queue<N> for ArrayQueue<Message<N>> {
    const NAME: &'static str = "crossbeam ArrayQueue";
    const SIDES: Sides = Sides::Threads;
    type Pusher = Arc<Self>;
    type Popper = Arc<Self>;

    fn of(capacity: usize) -> Self {
        Self::new(capacity)
    }

    fn pusher(queue: &Arc<Self>) -> Arc<Self> {
        Arc::clone(queue)
    }

    fn popper(queue: &Arc<Self>) -> Arc<Self> {
        Arc::clone(queue)
    }

    #[inline]
    fn push(end: &mut Arc<Self>, message: Message<N>, idle: Idle) {
        idle.until(|| end.push(message).ok());
    }

    #[inline]
    fn pop(end: &mut Arc<Self>, idle: Idle) -> Message<N> {
        idle.until(|| end.pop())
    }
}

/// A channel as both its ends, of which more are made. It blocks, in its own way.
macro_rules! channel {
    ($type:ident, $module:ident, $name:literal) => {
        #[doc = concat!("The bounded channel of ", $name, ".")]
        #[derive(Debug)]
        pub struct $type<const N: usize> {
            sender: $module::Sender<Message<N>>,
            receiver: $module::Receiver<Message<N>>,
        }

        impl<const N: usize> Queue<N> for $type<N> {
            const NAME: &'static str = $name;
            const SIDES: Sides = Sides::Threads;
            type Pusher = $module::Sender<Message<N>>;
            type Popper = $module::Receiver<Message<N>>;

            fn of(capacity: usize) -> Self {
                let (sender, receiver) = $module::bounded(capacity);
                Self { sender, receiver }
            }

            fn pusher(queue: &Arc<Self>) -> Self::Pusher {
                queue.sender.clone()
            }

            fn popper(queue: &Arc<Self>) -> Self::Popper {
                queue.receiver.clone()
            }

            #[inline]
            fn push(end: &mut Self::Pusher, message: Message<N>, _: Idle) {
                end.send(message).expect("a receiver lives");
            }

            #[inline]
            fn pop(end: &mut Self::Popper, _: Idle) -> Message<N> {
                end.recv().expect("a sender lives")
            }
        }
    };
}

channel!(Crossbeam, crossbeam_channel, "crossbeam channel");
channel!(Kanal, kanal, "kanal");
channel!(Flume, flume, "flume");
