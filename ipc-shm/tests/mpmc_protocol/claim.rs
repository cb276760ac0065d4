//! The ring whose slots are claimed by name, step by step.
//!
//! A slot is one word, {position, state, owner, owner's generation}, and its message. Positions count up for ever, and a slot
//! is that of each `SLOTS`th.
//!
//! | word | who | to |
//! |---|---|---|
//! | free, for position p | a producer | writing |
//! | writing | its owner | ready |
//! | writing, the owner dead | a consumer | void |
//! | void | a consumer | free, for the next position |
//! | ready | a consumer | reading |
//! | reading | its owner | free, for the next position |
//! | reading, the owner dead | a consumer | reading, by itself |
//!
//! Whoever claims a slot has seen that all positions before it are claimed, by producers or by consumers as he is one. So
//! claimed positions have no gaps, and the two positions that everybody reads first, `tail` and `head`, need only be
//! claimed up to there: who finds a slot claimed goes on to the next. They are stored plainly, after the fact.
//!
//! Each participant has a record: its process, a generation, and a *trail*, the position that it is about to claim, which it
//! notes before it does. An owner is dead when its process is, or when its record is of another generation. Who sees
//! nothing to read looks at the slots where the trails end: a message that a dead consumer was reading
//! is there and nowhere else. A record of the dead is taken over by whoever comes next, who begins with another generation,
//! and, if it is a consumer, looks first at what the trail leads to.

use ipc_testkit::explore::{Protocol, Steps};

/// How it is built, or which of the rules is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// As above.
    Sound,
    /// The trail is noted when the slot is claimed already.
    TrailAfterClaim,
    /// Who has been writing for long is taken for dead.
    TimeOut,
    /// What a dead producer was writing is free again for the same position.
    BackToFree,
    /// Nobody looks where the trails end.
    NoLookAtTrails,
    /// All consumers are threads of one process, with one record.
    OneRecordForTwo,
    /// A record that is taken over keeps its generation.
    SameGeneration,
    /// An heir does not look where the trail of its record ends.
    ForgetfulHeir,
}

pub(crate) struct Ring {
    pub(crate) variant: Variant,
    pub(crate) slots: usize,
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    /// How many messages each producer pushes.
    pub(crate) messages: u8,
    pub(crate) kills: u8,
    /// How many of the dead are replaced.
    pub(crate) heirs: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Free,
    Writing,
    Ready,
    Void,
    Reading,
}

/// The word of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Word {
    position: u8,
    kind: Kind,
    /// Number of a record, and its generation; 0 where nobody owns it.
    owner: u8,
    generation: u8,
}

/// A message is its producer's number and its own, in both halves; 0 is none.
type Message = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Before the load of the first position.
    Start,
    /// Before the load of the slot's word.
    Look,
    /// Before the note of the trail, the claim, and the two halves.
    Note,
    Claim,
    First,
    Second,
    /// Before the store that gives the slot on.
    Publish,
    /// Before the store of the first position.
    Advance,
    /// A consumer has seen a producer at work: before it is asked after, and before the slot is made void.
    Ask,
    Void,
    /// Before a void slot is freed.
    Skip,
    /// A consumer has seen nothing: at trail number `k`, at the slot where it ends, and asking after its owner.
    Trail,
    Orphan,
    AskOrphan,
    /// An heir: before the next generation.
    Inherit,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Participant {
    is_alive: bool,
    at: At,
    position: u8,
    seen: Word,
    /// Half of a message that was read.
    half: Message,
    pushed: u8,
    trail: u8,
    /// Of the record.
    generation: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    tail: u8,
    head: u8,
    words: [Word; MOST_SLOTS],
    halves: [[Message; 2]; MOST_SLOTS],
    who: [Participant; MOST_PARTICIPANTS],
    /// Bits of messages: that were published, and that were delivered.
    published: u16,
    delivered: u16,
    kills: u8,
    heirs: u8,
}

const MOST_SLOTS: usize = 2;
const MOST_PARTICIPANTS: usize = 4;

const NO_TRAIL: u8 = u8::MAX;
const NOBODY: Word = Word { position: 0, kind: Kind::Free, owner: 0, generation: 0 };

const fn free(position: u8) -> Word {
    Word { position, ..NOBODY }
}

impl Protocol for Ring {
    type State = State;

    fn start(&self) -> State {
        let participant = Participant {
            is_alive: true,
            at: At::Start,
            position: 0,
            seen: NOBODY,
            half: 0,
            pushed: 0,
            trail: NO_TRAIL,
            generation: 1,
        };
        State {
            tail: 0,
            head: 0,
            words: core::array::from_fn(|position| free(position as u8)),
            halves: [[0; 2]; MOST_SLOTS],
            who: [participant; MOST_PARTICIPANTS],
            published: 0,
            delivered: 0,
            kills: self.kills,
            heirs: self.heirs,
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) -> Result<(), String> {
        for me in 0..self.participants() {
            let Participant { is_alive, at, .. } = state.who[me];
            if !is_alive {
                if state.heirs > 0 && self.record(me) == me {
                    let mut next = *state;
                    next.heirs -= 1;
                    next.who[me] = Participant {
                        is_alive: true,
                        at: At::Inherit,
                        position: 0,
                        seen: NOBODY,
                        half: 0,
                        // What it was about to push it has pushed, or not.
                        pushed: state.who[me].pushed + 1,
                        ..state.who[me]
                    };
                    steps.add_accident(format_args!("{me} has an heir"), next);
                }
                continue;
            }
            if state.kills > 0 && at != At::Done {
                let mut next = *state;
                next.kills -= 1;
                next.who[me].is_alive = false;
                for other in self.producers..self.participants() {
                    next.who[other].is_alive &= self.record(other) != self.record(me);
                }
                steps.add_accident(format_args!("{me} is killed"), next);
            }
            let mut next = *state;
            let done = if me < self.producers {
                self.produce(&mut next, me)?
            } else {
                self.consume(&mut next, me)?
            };
            if done {
                steps.add(format_args!("{me}: {at:?} {}", state.who[me].position), next);
            }
        }
        Ok(())
    }

    /// All producers that live have pushed all; if a consumer lives, all is delivered and the ring is empty. And if none
    /// does, there is nobody to do anything.
    fn is_settled(&self, state: &State) -> bool {
        let (producers, consumers) = state.who[..self.participants()].split_at(self.producers);
        if !consumers.iter().any(|consumer| consumer.is_alive) {
            return true;
        }
        producers.iter().all(|producer| !producer.is_alive || producer.at == At::Done)
            && state.published & !state.delivered == 0
            && state.words.iter().all(|word| word.kind == Kind::Free)
    }
}

impl Ring {
    const fn participants(&self) -> usize {
        self.producers + self.consumers
    }

    fn record(&self, me: usize) -> usize {
        match self.variant {
            Variant::OneRecordForTwo if me > self.producers => self.producers,
            _ => me,
        }
    }

    /// Whether the owner of a slot is dead, as far as it can be told.
    fn is_dead(&self, state: &State, word: Word) -> bool {
        let owner = &state.who[usize::from(word.owner)];
        !owner.is_alive
            || owner.generation != word.generation
            || (self.variant == Variant::TimeOut && word.kind == Kind::Writing)
    }

    fn message(&self, me: usize, number: u8) -> Message {
        me as u8 * self.messages + number + 1
    }

    /// One step of producer `me`; `false` if there is none.
    fn produce(&self, state: &mut State, me: usize) -> Result<bool, String> {
        let slots = self.slots as u8;
        let mine = state.who[me];
        let at = usize::from(mine.position % slots);
        let word = |kind| Word {
            position: mine.position,
            kind,
            owner: me as u8,
            generation: mine.generation,
        };
        let message = self.message(me, mine.pushed);
        let who = &mut state.who[me];
        match mine.at {
            At::Start if mine.pushed >= self.messages => who.at = At::Done,
            At::Start => (who.position, who.at) = (state.tail, At::Look),
            At::Look => match state.words[at] {
                word if word.position < mine.position => who.at = At::Start, // Full.
                word if word == free(mine.position) => who.at = At::Note,
                _ => who.position += 1,
            },
            At::Note => {
                if self.variant != Variant::TrailAfterClaim {
                    who.trail = mine.position;
                }
                who.at = At::Claim;
            }
            At::Claim if state.words[at] == free(mine.position) => {
                state.words[at] = word(Kind::Writing);
                who.at = At::First;
            }
            At::Claim => who.at = At::Look,
            At::First => {
                who.trail = mine.position;
                state.halves[at][0] = message;
                who.at = At::Second;
            }
            At::Second => {
                state.halves[at][1] = message;
                who.at = At::Publish;
            }
            At::Publish => {
                if state.words[at] != word(Kind::Writing) {
                    return Err(format!("{me} publishes over {:?}", state.words[at]));
                }
                state.words[at] = Word { position: mine.position, kind: Kind::Ready, ..NOBODY };
                state.published |= 1 << message;
                who.at = At::Advance;
            }
            At::Advance => {
                state.tail = mine.position + 1;
                who.pushed += 1;
                who.at = At::Start;
            }
            At::Inherit => self.inherit(state, me),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// One step of consumer `me`.
    fn consume(&self, state: &mut State, me: usize) -> Result<bool, String> {
        let slots = self.slots as u8;
        let mine = state.who[me];
        let at = usize::from(mine.position % slots);
        let now = state.words[at];
        let record = self.record(me);
        let generation = state.who[record].generation;
        let reading =
            Word { position: mine.position, kind: Kind::Reading, owner: record as u8, generation };
        let is_mine = now == reading;
        match mine.at {
            At::Start => (state.who[me].position, state.who[me].at) = (state.head, At::Look),
            At::Look => {
                let who = &mut state.who[me];
                who.seen = now;
                who.half = 0;
                match now.kind {
                    _ if now.position > mine.position => who.position += 1,
                    // Nothing has come since the last turn of the ring. Maybe something of that one is there still.
                    _ if now.position < mine.position => who.at = At::Trail,
                    Kind::Free => who.at = At::Trail,
                    Kind::Writing => who.at = At::Ask,
                    Kind::Ready => who.at = At::Note,
                    Kind::Void => who.at = At::Skip,
                    Kind::Reading => who.position += 1,
                }
            }
            At::Note => {
                if self.variant != Variant::TrailAfterClaim {
                    state.who[record].trail = mine.position;
                }
                state.who[me].at = At::Claim;
            }
            At::Claim if now == mine.seen => {
                state.words[at] = reading;
                state.who[me].at = At::First;
            }
            At::Claim => state.who[me].at = At::Start,
            At::First => {
                state.who[record].trail = mine.position;
                state.who[me].half = state.halves[at][0];
                state.who[me].at = At::Second;
            }
            At::Second => {
                if state.halves[at][1] != mine.half {
                    return Err(format!("{me} reads {:?}, torn", state.halves[at]));
                }
                state.who[me].at = At::Publish;
            }
            At::Publish => {
                if !is_mine {
                    return Err(format!("{me} frees {now:?}"));
                }
                if state.published & 1 << mine.half == 0 || state.delivered & 1 << mine.half != 0 {
                    return Err(format!(
                        "{me} delivers {} twice, or before it is published",
                        mine.half
                    ));
                }
                state.delivered |= 1 << mine.half;
                state.words[at] = free(mine.position + slots);
                state.who[me].at = At::Advance;
            }
            At::Advance => {
                state.head = mine.position + 1;
                state.who[me].at = At::Start;
            }
            At::Ask => {
                let dead = self.is_dead(state, mine.seen);
                state.who[me].at = if dead { At::Void } else { At::Start };
            }
            At::Void => {
                if now == mine.seen {
                    state.words[at] = match self.variant {
                        Variant::BackToFree => free(mine.position),
                        _ => Word { position: mine.position, kind: Kind::Void, ..NOBODY },
                    };
                }
                state.who[me].at = At::Start;
            }
            At::Skip => {
                if now == mine.seen {
                    state.words[at] = free(mine.position + slots);
                }
                state.who[me].at = At::Start;
            }
            At::Trail if self.variant == Variant::NoLookAtTrails => state.who[me].at = At::Start,
            // `half` counts the records here.
            At::Trail => {
                let other = self.producers + usize::from(mine.half);
                if other == self.participants() {
                    state.who[me].at = At::Start;
                } else if state.who[other].trail == NO_TRAIL {
                    state.who[me].half += 1;
                } else {
                    state.who[me].position = state.who[other].trail;
                    state.who[me].at = At::Orphan;
                }
            }
            At::Orphan => {
                let other = self.producers + usize::from(mine.half);
                let is_held = now.position == mine.position
                    && now.kind == Kind::Reading
                    && usize::from(now.owner) == other;
                let who = &mut state.who[me];
                who.seen = now;
                who.at = if is_held { At::AskOrphan } else { At::Trail };
                who.half += u8::from(!is_held);
            }
            At::AskOrphan => {
                let dead = self.is_dead(state, mine.seen);
                state.who[me].at = if dead { At::Note } else { At::Trail };
                state.who[me].half += u8::from(!dead);
            }
            At::Inherit => self.inherit(state, me),
            At::Done => return Ok(false),
        }
        Ok(true)
    }

    /// Whoever has taken over the record of a dead one begins anew: what that one owned is a dead one's from here on. A consumer
    /// looks first at what the trail leads to, which it is about to write over.
    fn inherit(&self, state: &mut State, me: usize) {
        let is_consumer = me >= self.producers;
        let who = &mut state.who[me];
        if self.variant != Variant::SameGeneration {
            who.generation += 1;
        }
        who.at = At::Start;
        if is_consumer && who.trail != NO_TRAIL && self.variant != Variant::ForgetfulHeir {
            (who.position, who.half) = (who.trail, (me - self.producers) as u8);
            who.at = At::Orphan;
        }
    }
}
