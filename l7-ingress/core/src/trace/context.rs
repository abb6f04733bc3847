//! Where a request belongs: W3C's `traceparent` and `tracestate` (<https://www.w3.org/TR/trace-context/>), and B3 in one
//! field or several (<https://github.com/openzipkin/b3-propagation>).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Trace, Tracing};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const B3: HeaderName = HeaderName::from_static("b3");
const B3_TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
const B3_SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
const B3_PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// Where a request belongs, and which of the spans there it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: u128,
    /// The request's own span.
    pub span: u64,
    /// The client's span, if it has one.
    pub parent: Option<u64>,
    /// Whether it is sampled.
    pub sampled: bool,
    /// What others have to say of the trace.
    pub state: Option<HeaderValue>,
    /// Whether endpoints are told in B3's one field.
    single: bool,
    /// Whether they are told in B3's several fields.
    several: bool,
}

/// What a client says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Incoming {
    ids: Option<(u128, u64)>,
    sampled: Option<bool>,
    state: Option<HeaderValue>,
}

impl Context {
    /// Where a request with these fields belongs. `random` gives numbers for what begins here.
    #[must_use]
    pub fn of(
        headers: &HeaderMap,
        (tracing, trace): (&Tracing, &Trace),
        random: impl Fn() -> u128,
    ) -> Self {
        let incoming = match trace.trusts {
            true => Incoming::read(headers),
            false => Incoming::default(),
        };
        let (id, parent) = match incoming.ids {
            Some((trace, span)) => (trace, Some(span)),
            // 0 is no number.
            None => (random().max(1), None),
        };
        let decided = incoming.sampled.filter(|_| tracing.follows_parent);
        let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or(1);
        Self {
            trace: id,
            span: half(random()).max(1),
            parent,
            sampled: decided.unwrap_or_else(|| tracing.sampler.takes(id)),
            state: incoming.state,
            single: headers.contains_key(B3),
            several: headers.contains_key(B3_TRACE) || headers.contains_key(B3_SAMPLED),
        }
    }

    /// Adds what endpoints are told to `fields`, where an empty value takes a field away.
    pub fn tell(&self, fields: &mut Vec<(HeaderName, HeaderValue)>) {
        let (trace, span, sampled) = (self.trace, self.span, u8::from(self.sampled));
        let parent = self.parent.map(|parent| format!("{parent:016x}"));
        let mut tell = |name, value: &str| {
            let value = HeaderValue::from_str(value);
            fields.push((name, value.expect("hexadecimal digits are a field value")));
        };
        tell(
            TRACEPARENT,
            &format!("00-{trace:032x}-{span:016x}-{sampled:02x}"),
        );
        if self.single {
            let parent = parent.as_ref().map(|parent| format!("-{parent}"));
            let parent = parent.unwrap_or_default();
            tell(B3, &format!("{trace:032x}-{span:016x}-{sampled}{parent}"));
        }
        if self.several {
            tell(B3_TRACE, &format!("{trace:032x}"));
            tell(B3_SPAN, &format!("{span:016x}"));
            tell(B3_PARENT, &parent.unwrap_or_default());
            tell(B3_SAMPLED, &sampled.to_string());
            // Its one flag says the same once more.
            tell(B3_FLAGS, "");
        }
        let state = self.state.clone();
        let none = HeaderValue::from_static("");
        fields.push((TRACESTATE, state.unwrap_or(none)));
    }
}

impl Incoming {
    /// W3C's fields where they are good, else B3's.
    fn read(headers: &HeaderMap) -> Self {
        let w3c = only(headers, &TRACEPARENT).and_then(traceparent);
        if let Some((ids, sampled)) = w3c {
            return Self {
                ids: Some(ids),
                sampled: Some(sampled),
                state: tracestate(headers),
            };
        }
        match only(headers, &B3) {
            Some(text) => single(text).unwrap_or_default(),
            None => several(headers),
        }
    }
}

/// A field that stands once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    let others = lines.next();
    others.is_none().then(|| line.to_str().ok()).flatten()
}

/// W3C Trace Context §3.2: `00-TRACE-SPAN-FLAGS`; what a later version adds is passed over.
fn traceparent(text: &str) -> Option<((u128, u64), bool)> {
    let mut parts = text.trim().split('-');
    let version = hexadecimal(parts.next()?, 2)?;
    let trace = hexadecimal(parts.next()?, 32).filter(|trace| *trace > 0)?;
    let span = hexadecimal(parts.next()?, 16).filter(|span| *span > 0)?;
    let flags = hexadecimal(parts.next()?, 2)?;
    let is_known = match version {
        0 => parts.next().is_none(),
        255 => false,
        _ => true,
    };
    let span = u64::try_from(span).ok()?;
    is_known.then_some(((trace, span), flags & 1 == 1))
}

/// Lower case, as the specification has it.
fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = text.len() == digits && text.bytes().all(lower);
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// All lines as one (§3.3).
fn tracestate(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines: Vec<_> = headers.get_all(TRACESTATE).iter().collect();
    match lines.as_slice() {
        [] => None,
        [line] => Some((*line).clone()),
        lines => {
            let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
            HeaderValue::from_bytes(&lines.join(&b","[..])).ok()
        }
    }
}

/// `TRACE-SPAN-SAMPLED-PARENT`, of which the last two may be missing, or `SAMPLED` alone.
fn single(text: &str) -> Option<Incoming> {
    let mut parts = text.trim().split('-');
    let first = parts.next()?;
    let Some(span) = parts.next() else {
        return Some(Incoming {
            sampled: Some(decision(first)?),
            ..Incoming::default()
        });
    };
    let ids = ids(first, span)?;
    let sampled = match parts.next() {
        None => None,
        Some(text) => Some(decision(text)?),
    };
    Some(Incoming {
        ids: Some(ids),
        sampled,
        state: None,
    })
}

fn several(headers: &HeaderMap) -> Incoming {
    let ids = || ids(only(headers, &B3_TRACE)?, only(headers, &B3_SPAN)?);
    let debug = only(headers, &B3_FLAGS) == Some("1");
    let sampled = only(headers, &B3_SAMPLED).and_then(|text| match text {
        // Older libraries write it so.
        "true" => Some(true),
        "false" => Some(false),
        text => decision(text),
    });
    Incoming {
        ids: ids(),
        sampled: debug.then_some(true).or(sampled),
        state: None,
    }
}

/// A trace may have half as many digits.
fn ids(trace: &str, span: &str) -> Option<(u128, u64)> {
    let number = |text: &str, digits| hexadecimal(&text.to_ascii_lowercase(), digits);
    let trace = number(trace, 32).or_else(|| number(trace, 16))?;
    let span = u64::try_from(number(span, 16)?).ok()?;
    (trace > 0 && span > 0).then_some((trace, span))
}

fn decision(text: &str) -> Option<bool> {
    match text {
        "1" | "d" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Sampler;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";
    const OWN: u128 = 0x1111_2222_3333_4444_5555_6666_7777_8888;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, value.parse().unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            headers.append(name, value);
        }
        headers
    }

    /// What endpoints are told for a request with these fields, if nothing that begins here is sampled.
    fn told(fields: &[(&str, &str)], trusts: bool) -> Vec<(String, String)> {
        let tracing = Tracing {
            sampler: Sampler::Off,
            ..Tracing::default()
        };
        let trace = Trace { trusts, name: None };
        let context = Context::of(&headers(fields), (&tracing, &trace), || OWN);
        let mut told = Vec::new();
        context.tell(&mut told);
        let told = told.into_iter();
        told.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect()
    }

    fn traceparent_of(fields: &[(&str, &str)]) -> String {
        told(fields, true).swap_remove(0).1
    }

    const NEW: &str = "00-11112222333344445555666677778888-5555666677778888-00";

    #[test]
    fn a_trace_goes_on_where_the_client_says_where_it_is() {
        let goes_on = |flags: &str| format!("00-{TRACE}-5555666677778888-{flags}");
        let good = format!("00-{TRACE}-{SPAN}-01");
        let of_tomorrow = format!("cc-{TRACE}-{SPAN}-01-what");
        let short = TRACE.split_at(16).1;
        assert_eq!(traceparent_of(&[]), NEW);
        assert_eq!(traceparent_of(&[("traceparent", &good)]), goes_on("01"));
        let later = traceparent_of(&[("traceparent", &of_tomorrow)]);
        assert_eq!(later, goes_on("01"));
        let b3 = format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90");
        assert_eq!(traceparent_of(&[("b3", &b3)]), goes_on("01"));
        let b3 = format!("{}-{SPAN}-d", TRACE.to_uppercase());
        assert_eq!(traceparent_of(&[("b3", &b3)]), goes_on("01"));
        let b3 = format!("{short}-{SPAN}-0");
        let padded = format!("00-{short:0>32}-5555666677778888-00");
        assert_eq!(traceparent_of(&[("b3", &b3)]), padded);
        let several = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
        assert_eq!(traceparent_of(&several), goes_on("00"));
        let sampled = [several[0], several[1], ("x-b3-sampled", "1")];
        assert_eq!(traceparent_of(&sampled), goes_on("01"));
        let debug = [several[0], several[1], ("x-b3-flags", "1")];
        assert_eq!(traceparent_of(&debug), goes_on("01"));
        // A decision without a trace.
        let taken = format!("{}01", NEW.strip_suffix("00").unwrap());
        assert_eq!(traceparent_of(&[("b3", "1")]), taken);
    }

    #[test]
    fn what_is_no_trace_begins_a_new_one() {
        let zero = "0".repeat(32);
        let bad = [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{zero}-{SPAN}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}-+7ad6b7169203331-01"),
            format!("00-{TRACE}{SPAN}-01"),
        ];
        for bad in &bad {
            assert_eq!(traceparent_of(&[("traceparent", bad)]), NEW, "{bad}");
        }
        let good = format!("00-{TRACE}-{SPAN}-01");
        let twice = [("traceparent", &*good), ("traceparent", &*good)];
        assert_eq!(traceparent_of(&twice), NEW);
        for bad in [
            "",
            "x",
            "1-2-3",
            &format!("{zero}-{SPAN}-1"),
            &format!("{TRACE}-{SPAN}-7"),
        ] {
            assert_eq!(traceparent_of(&[("b3", bad)]), NEW, "{bad}");
        }
    }

    #[test]
    fn what_others_say_of_a_trace_is_passed_on_with_it_alone() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let fields = [
            ("traceparent", &*good),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ];
        let state = |fields: &[(&str, &str)], trusts| told(fields, trusts).pop().unwrap().1;
        assert_eq!(state(&fields, true), "a=1,b=2");
        assert_eq!(state(&fields, false), "", "it is taken away");
        assert_eq!(state(&fields[1..], true), "");
    }

    #[test]
    fn who_is_not_trusted_is_not_passed_on_in_any_form() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let b3 = format!("{TRACE}-{SPAN}-1");
        let fields = [
            ("traceparent", &*good),
            ("b3", &*b3),
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", SPAN),
            ("x-b3-parentspanid", SPAN),
            ("x-b3-flags", "1"),
        ];
        let want = [
            ("traceparent", NEW),
            ("b3", "11112222333344445555666677778888-5555666677778888-0"),
            ("x-b3-traceid", "11112222333344445555666677778888"),
            ("x-b3-spanid", "5555666677778888"),
            ("x-b3-parentspanid", ""),
            ("x-b3-sampled", "0"),
            ("x-b3-flags", ""),
            ("tracestate", ""),
        ];
        let want = want.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(told(&fields, false), want);
    }

    const NAMES: &[&str] = &[
        "traceparent",
        "tracestate",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-flags",
    ];

    proptest::proptest! {
        #[test]
        fn whatever_clients_say_endpoints_are_told_of_one_trace(
            fields in proptest::collection::vec((proptest::sample::select(NAMES), "[-0-9a-fA-FdxX]{0,60}"), 0..6),
            numbers in proptest::prelude::any::<u128>(),
            trusts in proptest::prelude::any::<bool>(),
        ) {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
            let trace = Trace { trusts, name: None };
            let on = (&Tracing::default(), &trace);
            let context = Context::of(&headers(&fields), on, || numbers);
            proptest::prop_assert!(context.trace > 0 && context.span > 0);
            let mut told = Vec::new();
            context.tell(&mut told);
            let of = |name: &HeaderName| told.iter().filter(|(own, _)| own == name).count();
            proptest::prop_assert!(told.iter().all(|(name, _)| of(name) == 1));
            let (_, own) = told.first().expect("traceparent");
            let own = traceparent(own.to_str().unwrap());
            proptest::prop_assert_eq!(own, Some(((context.trace, context.span), context.sampled)));
        }
    }

    #[test]
    fn a_share_is_taken_by_the_number_of_the_trace() {
        let share = |ratio: f64| {
            let sampler = Sampler::share(ratio);
            let step = u128::from(u64::MAX) / 1000;
            (0..1000).filter(|n| sampler.takes(step * n)).count()
        };
        assert_eq!(share(0.0), 0);
        assert_eq!(share(1.0), 1000);
        assert!((248..=252).contains(&share(0.25)), "{}", share(0.25));
    }

    #[test]
    fn a_client_decides_only_where_it_may() {
        let good = headers(&[("traceparent", &format!("00-{TRACE}-{SPAN}-00"))]);
        for (follows_parent, sampled) in [(true, false), (false, true)] {
            let tracing = Tracing {
                follows_parent,
                ..Tracing::default()
            };
            let context = Context::of(&good, (&tracing, &Trace::default()), || OWN);
            assert_eq!(context.sampled, sampled);
            assert_eq!(context.parent, Some(0xb7ad_6b71_6920_3331));
        }
    }
}
