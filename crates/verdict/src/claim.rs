//! What a test's body claims of values that it has.

use std::fmt::{Debug, Display};
use std::time::Duration;

use crate::finding::number;
use crate::text::one_line;
use crate::{CheckKind, Finding, Outcome, Polarity, Subject, Unit, Verdict};

/// Begins a claim about a value. What is asked of it makes a [`Verdict`]; verdicts [merge](Verdict::merge),
/// or go through [`all_of`] and [`any_of`].
///
/// ```
/// use std::time::Duration;
/// use belljar_verdict::{Outcome, Polarity, all_of, any_of, claim, claim_items};
///
/// let verdict = all_of([
///     claim("p99 wake", Duration::from_micros(120)).at_most(Duration::from_micros(50)),
///     claim("rounds", 1200.0).note("measured after a second of warming up").at_least(1000.0),
///     claim("throughput", 110.0).better_than(100.0, 5.0, Polarity::Higher),
///     claim_items("CPUs used", [0, 1]).subset_of([0, 1, 2, 3]),
///     any_of("quick or cheap", [claim("ms", 9).lt(5), claim("euros", 2).lt(3)]),
/// ]);
/// assert_eq!(verdict.outcome(), Outcome::Fail);
/// assert_eq!(verdict.summary(), "claim: p99 wake: is 120 us, wanted at most 50 us");
/// ```
#[must_use = "a claim that asks for nothing checks nothing"]
pub fn claim<T>(name: impl Into<String>, value: T) -> Claim<T> {
    Claim { name: name.into(), value, facts: Vec::new(), settled: None }
}

/// Begins a claim about a set or a sequence.
#[must_use = "a claim that asks for nothing checks nothing"]
pub fn claim_items<T>(
    name: impl Into<String>,
    items: impl IntoIterator<Item = T>,
) -> Claim<Items<T>> {
    claim(name, Items(items.into_iter().collect()))
}

/// Something to be told with the verdict, which checks nothing.
#[must_use]
pub fn note(text: impl Into<String>) -> Verdict {
    Finding::new(CheckKind::Note, Outcome::Skip, text).into()
}

/// A claim about a value, before anything is asked of it.
#[derive(Clone, Debug)]
#[must_use = "a claim that asks for nothing checks nothing"]
pub struct Claim<T> {
    name: String,
    value: T,
    facts: Vec<String>,
    settled: Option<(Outcome, String)>,
}

/// The members of a set or a sequence.
#[derive(Clone, Debug)]
pub struct Items<T>(Vec<T>);

/// What can be measured: has an order, a number to record, and a unit.
pub trait Quantity: PartialOrd {
    /// The number that is recorded.
    fn measured(&self) -> f64;
    /// Its unit.
    fn unit() -> Unit {
        Unit::Plain
    }
}

macro_rules! quantities {
    ($($type:ty)*) => {$(
        impl Quantity for $type {
            fn measured(&self) -> f64 {
                *self as f64
            }
        }
    )*};
}

quantities!(f64 f32 u64 u32 u16 u8 usize i64 i32 i16 i8 isize);

impl Quantity for Duration {
    fn measured(&self) -> f64 {
        self.as_nanos() as f64
    }

    fn unit() -> Unit {
        Unit::Ns
    }
}

fn show<Q: Quantity>(value: &Q) -> String {
    Q::unit().show(value.measured())
}

/// Characters of a value that are shown.
const CHARS_MAX: usize = 160;

fn debug(value: &impl Debug) -> String {
    one_line(&format!("{value:?}"), CHARS_MAX)
}

impl<T> Claim<T> {
    /// Adds a fact that explains the claim if it does not hold.
    pub fn note(mut self, fact: impl Into<String>) -> Self {
        self.facts.push(fact.into());
        self
    }

    /// Skips the claim where it has no meaning.
    pub fn skip_if(self, condition: bool, why: impl Into<String>) -> Self {
        self.settle_if(condition, Outcome::Skip, why)
    }

    /// Leaves the claim open where the value says nothing.
    pub fn inconclusive_if(self, condition: bool, why: impl Into<String>) -> Self {
        self.settle_if(condition, Outcome::Inconclusive, why)
    }

    fn settle_if(mut self, condition: bool, outcome: Outcome, why: impl Into<String>) -> Self {
        if condition && self.settled.is_none() {
            self.settled = Some((outcome, why.into()));
        }
        self
    }

    /// The claim's end: it holds, does not, or cannot be told (`None`).
    fn end(self, holds: Option<bool>, is: &str, wanted: &str) -> Finding {
        let outcome = match holds {
            Some(true) => Outcome::Pass,
            Some(false) => Outcome::Fail,
            None => Outcome::Inconclusive,
        };
        let (outcome, text) = match self.settled {
            Some(settled) => settled,
            None => (outcome, format!("is {is}, wanted {wanted}")),
        };
        let facts = if outcome == Outcome::Pass { Vec::new() } else { self.facts };
        Finding::new(CheckKind::Claim, outcome, text)
            .about(Subject::Claimed { name: self.name })
            .facts(facts)
    }
}

impl<Q: Quantity> Claim<Q> {
    /// It is this or more.
    pub fn at_least(self, least: Q) -> Verdict {
        self.compare("at least", &least, |value, least| value >= least)
    }

    /// It is this or less.
    pub fn at_most(self, most: Q) -> Verdict {
        self.compare("at most", &most, |value, most| value <= most)
    }

    /// It is less than this.
    pub fn lt(self, bound: Q) -> Verdict {
        self.compare("less than", &bound, |value, bound| value < bound)
    }

    /// It is more than this.
    pub fn gt(self, bound: Q) -> Verdict {
        self.compare("more than", &bound, |value, bound| value > bound)
    }

    /// It is neither less than the first nor more than the second.
    pub fn between(self, least: Q, most: Q) -> Verdict {
        let order = self.value.partial_cmp(&least).zip(self.value.partial_cmp(&most));
        let holds = order.map(|(low, high)| low.is_ge() && high.is_le());
        let wanted = format!("{} to {}", show(&least), show(&most));
        self.quantity(holds, &wanted, None)
    }

    /// It differs from this by no more than `tolerance`.
    pub fn near(self, center: Q, tolerance: Q) -> Verdict {
        let distance = (self.value.measured() - center.measured()).abs();
        let holds = distance.partial_cmp(&tolerance.measured()).map(|order| order.is_le());
        let wanted = format!("{}, give or take {}", show(&center), show(&tolerance));
        self.quantity(holds, &wanted, Some(center.measured()))
    }

    /// It is a number, and not an infinite one.
    pub fn is_finite(self) -> Verdict {
        let holds = self.value.measured().is_finite();
        self.quantity(Some(holds), "a finite number", None)
    }

    /// It is better than `other`, by at least so many percent of it. Without a polarity nothing is better.
    pub fn better_than(self, other: Q, by_pct: f64, polarity: Polarity) -> Verdict {
        let (value, base) = (self.value.measured(), other.measured());
        let gain = match polarity {
            Polarity::Higher => value - base,
            Polarity::Lower => base - value,
            Polarity::None => f64::NAN,
        };
        let by = format!(
            "at least {} % better than {} ({})",
            number(by_pct),
            show(&other),
            match polarity {
                Polarity::Higher => "higher is better",
                Polarity::Lower => "lower is better",
                Polarity::None => "and neither higher nor lower is better",
            }
        );
        let pct = if base == 0.0 { f64::NAN } else { 100.0 * gain / base.abs() };
        let holds = pct.partial_cmp(&by_pct).map(|order| order.is_ge());
        let fact = match holds {
            Some(_) => format!("it is better by {} %", number(pct)),
            None if base == 0.0 => "the other is 0, so there is nothing to divide by".to_owned(),
            None => "they cannot be compared".to_owned(),
        };
        self.note(fact).quantity(holds, &by, Some(base))
    }

    fn compare(self, word: &str, bound: &Q, holds: impl FnOnce(&Q, &Q) -> bool) -> Verdict {
        let holds = self.value.partial_cmp(bound).map(|_| holds(&self.value, bound));
        let (wanted, limit) = (format!("{word} {}", show(bound)), bound.measured());
        self.quantity(holds, &wanted, Some(limit))
    }

    fn quantity(self, holds: Option<bool>, wanted: &str, limit: Option<f64>) -> Verdict {
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        let (measured, is) = (finite(self.value.measured()), show(&self.value));
        let finding = self.end(holds, &is, wanted);
        Finding { measured, limit: limit.and_then(finite), unit: Q::unit(), ..finding }.into()
    }
}

impl<T: PartialEq + Debug> Claim<T> {
    /// It is this.
    pub fn eq(self, other: T) -> Verdict {
        let (holds, is) = (self.value == other, debug(&self.value));
        self.end(Some(holds), &is, &debug(&other)).into()
    }

    /// It is not this.
    pub fn ne(self, other: T) -> Verdict {
        let (holds, is) = (self.value != other, debug(&self.value));
        self.end(Some(holds), &is, &format!("anything but {}", debug(&other))).into()
    }
}

impl<T: Debug> Claim<Option<T>> {
    /// There is a value.
    pub fn is_present(self) -> Verdict {
        let (holds, is) = (self.value.is_some(), debug(&self.value));
        self.end(Some(holds), &is, "a value").into()
    }

    /// There is none.
    pub fn is_absent(self) -> Verdict {
        let (holds, is) = (self.value.is_none(), debug(&self.value));
        self.end(Some(holds), &is, "none").into()
    }
}

impl<T: PartialEq + Debug> Claim<Items<T>> {
    /// It has no member.
    pub fn is_empty(self) -> Verdict {
        self.length("no member", |len| len == 0)
    }

    /// It has a member.
    pub fn is_nonempty(self) -> Verdict {
        self.length("a member", |len| len > 0)
    }

    /// It has so many members.
    pub fn len_eq(self, count: usize) -> Verdict {
        self.length(&format!("{count} members"), |len| len == count)
    }

    /// It has so many members or more.
    pub fn len_at_least(self, count: usize) -> Verdict {
        self.length(&format!("at least {count} members"), |len| len >= count)
    }

    /// It has so many members or fewer.
    pub fn len_at_most(self, count: usize) -> Verdict {
        self.length(&format!("at most {count} members"), |len| len <= count)
    }

    /// This is among its members.
    pub fn contains(self, item: &T) -> Verdict {
        let (holds, is) = (self.value.0.contains(item), debug(&self.value.0));
        self.end(Some(holds), &is, &format!("{} among them", debug(item))).into()
    }

    /// Every member is also one of these.
    pub fn subset_of(self, others: impl IntoIterator<Item = T>) -> Verdict {
        let others: Vec<T> = others.into_iter().collect();
        let wanted = format!("only members of {}", debug(&others));
        self.members(&wanted, |item| !others.contains(item))
    }

    /// No member is also one of these.
    pub fn disjoint_from(self, others: impl IntoIterator<Item = T>) -> Verdict {
        let others: Vec<T> = others.into_iter().collect();
        let wanted = format!("no member of {}", debug(&others));
        self.members(&wanted, |item| others.contains(item))
    }

    fn length(self, wanted: &str, holds: impl FnOnce(usize) -> bool) -> Verdict {
        let len = self.value.0.len();
        let is = format!("{} with {len} members", debug(&self.value.0));
        let finding = self.end(Some(holds(len)), &is, wanted);
        Finding { measured: Some(len as f64), ..finding }.into()
    }

    fn members(self, wanted: &str, is_wrong: impl Fn(&T) -> bool) -> Verdict {
        let is = debug(&self.value.0);
        let wrong: Vec<_> = self.value.0.iter().filter(|item| is_wrong(item)).map(debug).collect();
        let holds = wrong.is_empty();
        let fact = one_line(&format!("not as wanted: {}", wrong.join(", ")), CHARS_MAX);
        self.note(fact).end(Some(holds), &is, wanted).into()
    }
}

/// All of these must hold: they merge.
#[must_use]
pub fn all_of(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    verdicts.into_iter().collect()
}

/// One of these must hold. The first that passes is the answer; where all that were not skipped are
/// open it is open; otherwise it fails, with every alternative's answer as a fact. No alternative at all
/// is a failure.
#[must_use]
pub fn any_of(name: impl Display, verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let subject = Subject::Claimed { name: name.to_string() };
    let (mut facts, mut outcome) = (Vec::new(), None);
    for verdict in verdicts {
        let came = verdict.outcome();
        if came == Outcome::Pass {
            let text = verdict.findings().first().map_or_else(String::new, Finding::line);
            let text = format!("an alternative holds: {text}");
            return Finding::new(CheckKind::Claim, Outcome::Pass, text).about(subject).into();
        }
        facts.push(format!("{came}: {}", verdict.summary()));
        outcome = Some(outcome.map_or(came, |so_far: Outcome| so_far.merge(came)));
    }
    let text = match outcome {
        None => "there is no alternative to hold".to_owned(),
        Some(Outcome::Skip) => format!("all {} alternatives were skipped", facts.len()),
        Some(_) => format!("none of {} alternatives holds", facts.len()),
    };
    Finding::new(CheckKind::Claim, outcome.unwrap_or(Outcome::Fail), text)
        .about(subject)
        .facts(facts)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(verdicts: impl IntoIterator<Item = Verdict>) -> String {
        let letter = |verdict: Verdict| match verdict.outcome() {
            Outcome::Skip => 's',
            Outcome::Pass => 'p',
            Outcome::Inconclusive => 'i',
            Outcome::Fail => 'f',
        };
        verdicts.into_iter().map(letter).collect()
    }

    #[test]
    fn quantities_are_compared() {
        let two = || claim("two", 2);
        assert_eq!(
            outcomes([two().at_least(2), two().at_most(2), two().lt(3), two().gt(1), two().eq(2)]),
            "ppppp"
        );
        assert_eq!(
            outcomes([two().at_least(3), two().at_most(1), two().lt(2), two().gt(2), two().eq(3)]),
            "fffff"
        );
        assert_eq!(
            outcomes([two().between(2, 2), two().between(0, 1), two().between(3, 4)]),
            "pff"
        );
        assert_eq!(
            outcomes([two().ne(3), two().ne(2), two().near(4, 2), two().near(4, 1)]),
            "pfpf"
        );
        // What is not a number proves nothing, but is not finite.
        let nan = || claim("nan", f64::NAN);
        assert_eq!(
            outcomes([nan().at_most(1.0), nan().between(0.0, 1.0), nan().near(0.0, 1.0)]),
            "iii"
        );
        assert_eq!(
            outcomes([
                nan().is_finite(),
                claim("inf", f64::INFINITY).is_finite(),
                claim("1", 1.0).is_finite()
            ]),
            "ffp"
        );
    }

    #[test]
    fn better_is_a_matter_of_polarity() {
        use Polarity::{Higher, Lower, None};
        let than =
            |value: f64, base, by, polarity| claim("x", value).better_than(base, by, polarity);
        assert_eq!(
            outcomes([than(110.0, 100.0, 10.0, Higher), than(109.0, 100.0, 10.0, Higher)]),
            "pf"
        );
        assert_eq!(
            outcomes([than(90.0, 100.0, 10.0, Lower), than(91.0, 100.0, 10.0, Lower)]),
            "pf"
        );
        assert_eq!(
            outcomes([
                than(-5.0, -10.0, 50.0, Higher),
                than(90.0, 0.0, 1.0, Lower),
                than(1.0, 2.0, 0.0, None)
            ]),
            "pii"
        );
    }

    #[test]
    fn members_are_counted_and_compared() {
        let items = || claim_items("items", [1, 2]);
        let none = || claim_items("none", Vec::<i32>::new());
        assert_eq!(
            outcomes([
                items().is_empty(),
                items().is_nonempty(),
                none().is_empty(),
                none().is_nonempty()
            ]),
            "fppf"
        );
        assert_eq!(
            outcomes([items().len_eq(2), items().len_at_least(3), items().len_at_most(1)]),
            "pff"
        );
        assert_eq!(outcomes([items().contains(&2), items().contains(&3)]), "pf");
        assert_eq!(
            outcomes([items().subset_of([1, 2, 3]), items().subset_of([2]), none().subset_of([])]),
            "pfp"
        );
        assert_eq!(outcomes([items().disjoint_from([3]), items().disjoint_from([2, 3])]), "pf");
        assert_eq!(
            outcomes([claim("o", Some(1)).is_present(), claim("o", Some(1)).is_absent()]),
            "pf"
        );
    }

    #[test]
    fn any_of_takes_the_first_that_passes() {
        let pass = || claim("p", 1).eq(1);
        let fail = || claim("f", 1).eq(2);
        let open = || claim("o", 1).inconclusive_if(true, "no sample").eq(1);
        let skip = || claim("s", 1).skip_if(true, "no device").eq(2);
        assert_eq!(outcomes([any_of("x", [fail(), pass()]), any_of("x", [open(), open()])]), "pi");
        assert_eq!(
            outcomes([
                any_of("x", [skip(), skip()]),
                any_of("x", [skip(), open()]),
                any_of("x", [])
            ]),
            "sif"
        );
        assert_eq!(
            outcomes([any_of("x", [fail(), open()]), all_of([pass(), skip()]), all_of([])]),
            "fps"
        );
    }

    #[test]
    fn claims_explain_themselves() {
        let verdict = all_of([
            claim("p99 wake", Duration::from_micros(1500))
                .note("3 of 400 wake-ups")
                .at_most(Duration::from_millis(1)),
            claim("throughput", 100.0).better_than(99.0, 5.0, Polarity::Higher),
            claim_items("CPUs used", [0, 4, 5]).subset_of(0..4),
            any_of(
                "quick or cheap",
                [claim("ms", 9).lt(5), claim("cpu \x1b[2J", f64::NAN).lt(3.0)],
            ),
            claim("ratio", 0.5).inconclusive_if(true, "no migration was seen").at_most(1.0),
            claim("rounds", 1200).at_least(1000),
            note("the machine was warm"),
        ]);
        insta::assert_snapshot!(verdict.explain());
    }
}
