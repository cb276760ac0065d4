//! The attacks on trial: what reads each word once and checks it must pass, with as many accesses as it makes; what
//! believes a peer, in any of the usual ways, must be found. One process, one thread.

use std::process::ExitCode;

use ipc_testkit::controls::{Credulous, DoubleFetch};
use ipc_testkit::stepmutate::{self, Answer, Arena, Scenario};

fn main() -> ExitCode {
    stepmutate::main(|suite| {
        let (arena, list) = Arena::place(DoubleFetch::of_three()).expect("memory");
        let sum = |name, once| {
            let judge = |(), sum: Option<u32>, _: &Arena| {
                Ok(if sum.is_some() { Answer::Value } else { Answer::Corrupt })
            };
            let operation = move |(): &mut ()| list.sum(once);
            Scenario::new(name, &arena, || (), operation, judge).read_only_words(0..40).within(200)
        };
        if let Some(report) = suite.attack(&sum("one fetch", true).at_least(4, 800)) {
            // The length, and three items.
            assert_eq!((report.accesses, report.calls, report.words), (4, 0, 5), "{report}");
            // Each word counts in either half, and turns one of two bits.
            assert_eq!(report.restless, 4 * report.words, "{report}");
            let answers = report.answers.iter().sum::<usize>();
            assert!(answers == report.runs + report.restless, "{report}");
            assert!(report.answers[0] > 0 && report.answers[2] > 0, "{report}");
        }
        suite.must_fail(&sum("double fetch", false), "it panicked");

        let (arena, queue) = Arena::place(Credulous::of_three()).expect("memory");
        let op = |name, operation: fn(&Credulous) -> u64| {
            let judge = |(), _, _: &Arena| Ok(Answer::Value);
            let operation = move |(): &mut ()| operation(queue);
            Scenario::new(name, &arena, || (), operation, judge).read_only_words(0..80).within(500)
        };
        let copy = |q: &Credulous| u64::from(q.count_in_a_copy()[7]);
        let in_place = |q: &Credulous| u64::from(q.count_in_place()[7]);
        suite.attack(&op("a checked copy", copy).at_least(4, 800));
        suite.must_fail(&op("checked where it lies", in_place), "it panicked");
        suite.must_fail(&op("unchecked position", Credulous::last_unchecked), "it accessed 0x");
        suite.must_fail(&op("too long", copy).within(60), "it took more than 60 instructions");
        suite.must_fail(&op("as far as the position", Credulous::sum_of_all), "it did not end");
        let stubborn =
            op("a change that is tried for ever", Credulous::take_stubbornly).words(0..8);
        suite.must_fail(&stubborn, "before every instruction: it took more than 500");
        let beside = |q: &Credulous| {
            q.push_beside();
            0
        };
        suite.must_fail(&op("a store elsewhere", beside), "it wrote at offset 0x38");

        // Damage that is forgotten: the judgement's own finding.
        let judge = |(), damaged: bool, arena: &Arena| {
            arena.restore();
            match damaged {
                true if !queue.is_damaged() => Err("it was corrupt, and is not any more".into()),
                true => Ok(Answer::Corrupt),
                false => Ok(Answer::Value),
            }
        };
        let damaged = |(): &mut ()| queue.is_damaged();
        let forgets = Scenario::new("forgotten damage", &arena, || (), damaged, judge);
        suite.must_fail(&forgets.read_only_words(0..16), "is not any more");

        // An attack that misses what it should strike is a failure of its own.
        let (arena, _) = Arena::place(Credulous::of_three()).expect("memory");
        let judge = |(), (), _: &Arena| Ok(Answer::Value);
        let nothing = Scenario::new("no access at all", &arena, || (), |()| (), judge);
        suite.must_fail(&nothing.read_only_words(0..16), "expected at least 1 accesses");
    })
}
