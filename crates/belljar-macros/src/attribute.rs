//! The words of the attribute, read into types. Each value is checked alone; `check` looks at how
//! they go together.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use belljar_topology::{Preset, Topology};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::Parser;
use syn::{Expr, ExprLit, Lit, Path, RangeLimits};

use crate::mistake::{Mistakes, did_you_mean};

/// The most tests that one function may become, and with it the most seeds.
pub(crate) const VARIANTS_MAX: u64 = 500;

/// The modes a VM can run in.
const MODES: [&str; 4] = ["kvm", "tcg", "det", "auto"];

/// A key: its name, what it takes, and how it is written.
struct Key(&'static str, &'static str, &'static str);

const KEYS: &[Key] = &[
    Key("topology", "the notation of a machine", r#"topology = "1n2l4c1t""#),
    Key("nodes", "a number from 1 up", "nodes = 2"),
    Key("llcs", "a number from 1 up, of the whole machine", "llcs = 2"),
    Key("cores", "a number from 1 up, per LLC", "cores = 4"),
    Key("threads", "a number from 1 up, per core", "threads = 2"),
    Key(
        "presets",
        "nothing or the names of presets",
        r#"presets = ["4cpu-2llc-nosmt", "8cpu-2llc-smt"]"#,
    ),
    Key("min_cpus", "a number from 1 up", "min_cpus = 4"),
    Key("max_cpus", "a number from 1 up", "max_cpus = 32"),
    Key("min_llcs", "a number from 1 up", "min_llcs = 2"),
    Key("max_llcs", "a number from 1 up", "max_llcs = 4"),
    Key("min_nodes", "a number from 1 up", "min_nodes = 2"),
    Key("max_nodes", "a number from 1 up", "max_nodes = 4"),
    Key("requires_smt", "nothing, true or false", "requires_smt = false"),
    Key("memory_mib", "a number from 192 up", "memory_mib = 512"),
    Key("mode", "kvm, tcg, det or auto, or several of them", r#"mode = ["tcg", "det"]"#),
    Key("kernel", "one kernel or several", r#"kernel = "debian:sid""#),
    Key("needs", "kernel abilities", r#"needs = ["sched_ext", "config:CONFIG_PSI"]"#),
    Key("modules", "kernel modules", r#"modules = ["tcp_diag"]"#),
    Key("tools", "programs of the host", r#"tools = ["ip", "ss"]"#),
    Key("timeout", "a time from 1 ms to 1 h in ms, s, m or h", r#"timeout = "10s""#),
    Key(
        "scheduler",
        "one scheduler or several, declared with `belljar::scheduler!`",
        "scheduler = [EEVDF, MINE]",
    ),
    Key(
        "staged",
        "schedulers that operations attach, declared with `belljar::scheduler!`",
        "staged = [OTHER]",
    ),
    Key("limits", "an expression for `Limits`", "limits = Limits::fair()"),
    Key("seed", "a number of 64 bits", "seed = 7"),
    Key("seeds", "a number from 1 to 500, or a range of so many", "seeds = 0..8"),
    Key("expect_fail", "nothing or a part of the reason", r#"expect_fail = "timeout""#),
    Key("expect_check", "the name of a check", r#"expect_check = "isolation""#),
    Key("allow_inconclusive", "nothing, true or false", "allow_inconclusive"),
    Key("ignore", "nothing or a reason", r#"ignore = "needs 64 GiB""#),
    Key("crate", "the path of the crate belljar", "crate = ::belljar"),
];

/// Everything an author wrote. A value that was wrong is absent, its word is in `words` all the same.
#[derive(Default)]
pub(crate) struct Attributes {
    /// The keys, in the order they were written.
    pub(crate) words: Vec<Ident>,
    pub(crate) crate_path: Option<Path>,
    pub(crate) topology: Option<Topology>,
    pub(crate) nodes: Option<u32>,
    pub(crate) llcs: Option<u32>,
    pub(crate) cores: Option<u32>,
    pub(crate) threads: Option<u32>,
    /// Empty: all that the constraints accept.
    pub(crate) presets: Option<Vec<(&'static Preset, Span)>>,
    pub(crate) min_cpus: Option<u32>,
    pub(crate) max_cpus: Option<u32>,
    pub(crate) min_llcs: Option<u32>,
    pub(crate) max_llcs: Option<u32>,
    pub(crate) min_nodes: Option<u32>,
    pub(crate) max_nodes: Option<u32>,
    pub(crate) requires_smt: Option<bool>,
    pub(crate) memory_mib: Option<u32>,
    pub(crate) mode: Option<Vec<&'static str>>,
    pub(crate) kernel: Option<Vec<String>>,
    pub(crate) needs: Option<Vec<String>>,
    pub(crate) modules: Option<Vec<String>>,
    pub(crate) tools: Option<Vec<String>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) scheduler: Option<Vec<Path>>,
    pub(crate) staged: Option<Vec<Path>>,
    pub(crate) limits: Option<Expr>,
    pub(crate) seed: Option<u64>,
    pub(crate) seeds: Option<Range<u64>>,
    /// Empty: any reason.
    pub(crate) expect_fail: Option<String>,
    pub(crate) expect_check: Option<String>,
    pub(crate) allow_inconclusive: Option<bool>,
    /// Empty: no reason given.
    pub(crate) ignore: Option<String>,
}

impl Attributes {
    /// Reads what stands in the attribute's parentheses.
    pub(crate) fn read(tokens: TokenStream, mistakes: &mut Mistakes) -> Self {
        let mut attributes = Self::default();
        for part in parts(tokens) {
            if let Some(value) = mistakes.keep(attributes.word(part)) {
                attributes.set(&value, mistakes);
            }
        }
        attributes
    }

    /// Whether a key was written, even if with a wrong value.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|known| known == word)
    }

    /// Where a word was written.
    pub(crate) fn place(&self, word: &str) -> Span {
        self.last_of(&[word]).map_or_else(Span::call_site, Ident::span)
    }

    /// The last of these words to be written.
    pub(crate) fn last_of(&self, words: &[&str]) -> Option<&Ident> {
        self.words.iter().rfind(|written| words.iter().any(|word| written == word))
    }

    /// Takes `key` or `key = value` apart.
    fn word(&mut self, part: Vec<TokenTree>) -> syn::Result<Value> {
        let mut part = part.into_iter();
        let word = match part.next() {
            Some(TokenTree::Ident(word)) => word,
            other => {
                let span = other.map_or_else(Span::call_site, |token| token.span());
                return Err(syn::Error::new(span, "expected a key, as in `llcs = 2`"));
            }
        };
        let Some(key) = KEYS.iter().find(|key| word == key.0) else {
            let names: Vec<&str> = KEYS.iter().map(|key| key.0).collect();
            let advice = did_you_mean(&word.to_string(), &names);
            return Err(syn::Error::new(word.span(), format!("unknown key `{word}`; {advice}")));
        };
        if self.has(key.0) {
            return Err(syn::Error::new(word.span(), format!("`{word}` is given twice")));
        }
        self.words.push(word.clone());
        let tokens = match part.next() {
            None => None,
            Some(TokenTree::Punct(punct)) if punct.as_char() == '=' => Some(part.collect()),
            Some(other) => {
                let message = format!("expected `=` or `,` after `{word}`, as in `{}`", key.2);
                return Err(syn::Error::new(other.span(), message));
            }
        };
        Ok(Value { key, word, tokens })
    }

    fn set(&mut self, value: &Value, mistakes: &mut Mistakes) {
        match value.key.0 {
            "crate" => self.crate_path = mistakes.keep(value.path()),
            "topology" => self.topology = mistakes.keep(value.topology()),
            "nodes" => self.nodes = mistakes.keep(value.number(1)),
            "llcs" => self.llcs = mistakes.keep(value.number(1)),
            "cores" => self.cores = mistakes.keep(value.number(1)),
            "threads" => self.threads = mistakes.keep(value.number(1)),
            "presets" => self.presets = mistakes.keep(value.presets()),
            "min_cpus" => self.min_cpus = mistakes.keep(value.number(1)),
            "max_cpus" => self.max_cpus = mistakes.keep(value.number(1)),
            "min_llcs" => self.min_llcs = mistakes.keep(value.number(1)),
            "max_llcs" => self.max_llcs = mistakes.keep(value.number(1)),
            "min_nodes" => self.min_nodes = mistakes.keep(value.number(1)),
            "max_nodes" => self.max_nodes = mistakes.keep(value.number(1)),
            "requires_smt" => self.requires_smt = mistakes.keep(value.flag()),
            "memory_mib" => self.memory_mib = mistakes.keep(value.number(192)),
            "mode" => self.mode = mistakes.keep(value.modes()),
            "kernel" => self.kernel = mistakes.keep(value.texts()),
            "needs" => self.needs = mistakes.keep(value.words()),
            "modules" => self.modules = mistakes.keep(value.words()),
            "tools" => self.tools = mistakes.keep(value.words()),
            "timeout" => self.timeout = mistakes.keep(value.duration()),
            "scheduler" => self.scheduler = mistakes.keep(value.paths()),
            "staged" => self.staged = mistakes.keep(value.paths()),
            "limits" => self.limits = mistakes.keep(value.expr()),
            "seed" => self.seed = mistakes.keep(value.seed()),
            "seeds" => self.seeds = mistakes.keep(value.seeds()),
            "expect_fail" => self.expect_fail = mistakes.keep(value.reason()),
            "expect_check" => self.expect_check = mistakes.keep(value.name()),
            "allow_inconclusive" => self.allow_inconclusive = mistakes.keep(value.flag()),
            "ignore" => self.ignore = mistakes.keep(value.reason()),
            key => unreachable!("`{key}` is in KEYS and not here"),
        }
    }
}

/// The attribute's tokens, cut at its commas.
fn parts(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let comma = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ',');
    tokens.split(comma).filter(|part| !part.is_empty()).map(<[_]>::to_vec).collect()
}

/// A key with what follows its `=`, if anything does.
struct Value {
    key: &'static Key,
    word: Ident,
    tokens: Option<TokenStream>,
}

impl Value {
    /// `What it takes, as in this example`, at `place`.
    fn error(&self, place: impl ToTokens) -> syn::Error {
        let Key(name, takes, example) = self.key;
        syn::Error::new_spanned(place, format!("`{name}` takes {takes}, as in `{example}`"))
    }

    fn expr(&self) -> syn::Result<Expr> {
        let tokens = self.tokens.clone().unwrap_or_default();
        if tokens.is_empty() {
            return Err(self.error(&self.word));
        }
        let expr: Expr = syn::parse2(tokens.clone()).map_err(|_| self.error(tokens))?;
        Ok(ungrouped(&expr).clone())
    }

    fn path(&self) -> syn::Result<Path> {
        match self.tokens.clone() {
            Some(tokens) => {
                Path::parse_mod_style.parse2(tokens.clone()).map_err(|_| self.error(tokens))
            }
            None => Err(self.error(&self.word)),
        }
    }

    /// One path or a list of them.
    fn paths(&self) -> syn::Result<Vec<Path>> {
        let path = |expr: &Expr| match ungrouped(expr) {
            Expr::Path(path) if path.qself.is_none() => Ok(path.path.clone()),
            _ => Err(self.error(expr)),
        };
        let expr = self.expr()?;
        match &expr {
            Expr::Array(list) if list.elems.is_empty() => Err(self.error(&expr)),
            Expr::Array(list) => list.elems.iter().map(path).collect(),
            one => Ok(vec![path(one)?]),
        }
    }

    /// A string that is a word.
    fn name(&self) -> syn::Result<String> {
        let expr = self.expr()?;
        let (text, _) = self.text(&expr)?;
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || !text.chars().all(letter) {
            return Err(self.error(&expr));
        }
        Ok(text)
    }

    fn topology(&self) -> syn::Result<Topology> {
        let (text, span) = self.text(&self.expr()?)?;
        text.parse().map_err(|error| syn::Error::new(span, format!("topology: {error}")))
    }

    fn number(&self, least: u32) -> syn::Result<u32> {
        let expr = self.expr()?;
        let number = u32::try_from(self.integer(&expr)?).ok();
        number.filter(|number| *number >= least).ok_or_else(|| self.error(&expr))
    }

    fn seed(&self) -> syn::Result<u64> {
        self.integer(&self.expr()?)
    }

    fn seeds(&self) -> syn::Result<Range<u64>> {
        let expr = self.expr()?;
        let seeds = match &expr {
            Expr::Range(range) => {
                let (Some(start), Some(end)) = (&range.start, &range.end) else {
                    return Err(self.error(&expr));
                };
                let (start, end) = (self.integer(start)?, self.integer(end)?);
                match range.limits {
                    RangeLimits::HalfOpen(_) => start..end,
                    RangeLimits::Closed(_) => start..end.saturating_add(1),
                }
            }
            _ => 0..self.integer(&expr)?,
        };
        let count = seeds.end.saturating_sub(seeds.start);
        if (1..=VARIANTS_MAX).contains(&count) { Ok(seeds) } else { Err(self.error(&expr)) }
    }

    fn integer(&self, expr: &Expr) -> syn::Result<u64> {
        match ungrouped(expr) {
            Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => {
                number.base10_parse().map_err(|_| self.error(number))
            }
            _ => Err(self.error(expr)),
        }
    }

    fn flag(&self) -> syn::Result<bool> {
        if self.tokens.is_none() {
            return Ok(true);
        }
        match self.expr()? {
            Expr::Lit(ExprLit { lit: Lit::Bool(flag), .. }) => Ok(flag.value),
            expr => Err(self.error(&expr)),
        }
    }

    fn reason(&self) -> syn::Result<String> {
        if self.tokens.is_none() {
            return Ok(String::new());
        }
        self.text(&self.expr()?).map(|(text, _)| text)
    }

    fn duration(&self) -> syn::Result<Duration> {
        let expr = self.expr()?;
        let (text, _) = self.text(&expr)?;
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => 0,
        };
        let ms = number.parse().unwrap_or(0_u64).saturating_mul(unit_ms);
        if !(1..=3_600_000).contains(&ms) {
            return Err(self.error(&expr));
        }
        Ok(Duration::from_millis(ms))
    }

    fn modes(&self) -> syn::Result<Vec<&'static str>> {
        self.list(|text, span| {
            MODES.into_iter().find(|mode| *mode == text).ok_or_else(|| {
                let advice = did_you_mean(text, &MODES);
                syn::Error::new(span, format!("unknown mode `{text}`; {advice}"))
            })
        })
    }

    fn presets(&self) -> syn::Result<Vec<(&'static Preset, Span)>> {
        if self.tokens.is_none() {
            return Ok(Vec::new());
        }
        self.list(|text, span| match Preset::find(text) {
            Ok(preset) => Ok((preset, span)),
            Err(unknown) => Err(syn::Error::new(span, unknown)),
        })
    }

    fn texts(&self) -> syn::Result<Vec<String>> {
        self.list(|text, _| Ok(text.to_owned()))
    }

    fn words(&self) -> syn::Result<Vec<String>> {
        self.list(|text, span| {
            if text.contains(char::is_whitespace) {
                let message = format!("`{text}` has a space in it: write one string for each");
                return Err(syn::Error::new(span, message));
            }
            Ok(text.to_owned())
        })
    }

    /// One string, or an array of one or more different ones.
    fn list<T>(&self, read: impl Fn(&str, Span) -> syn::Result<T>) -> syn::Result<Vec<T>> {
        let expr = self.expr()?;
        let elements = match &expr {
            Expr::Array(array) if array.elems.is_empty() => return Err(self.error(&expr)),
            Expr::Array(array) => array.elems.iter().collect(),
            single => vec![single],
        };
        let mut mistakes = Mistakes::default();
        let mut seen = BTreeSet::new();
        let mut list = Vec::new();
        for element in elements {
            let Some((text, span)) = mistakes.keep(self.text(element)) else { continue };
            list.extend(mistakes.keep(read(&text, span)));
            if seen.contains(&text) {
                mistakes.add(span, format!("`{text}` is listed twice"));
            }
            seen.insert(text);
        }
        mistakes.or(list)
    }

    /// A string that says something.
    fn text(&self, expr: &Expr) -> syn::Result<(String, Span)> {
        match ungrouped(expr) {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if !text.value().trim().is_empty() => {
                Ok((text.value(), text.span()))
            }
            _ => Err(self.error(expr)),
        }
    }
}

/// The value without what a `macro_rules!` fragment leaves around it.
fn ungrouped(mut expr: &Expr) -> &Expr {
    while let Expr::Group(group) = expr {
        expr = &group.expr;
    }
    expr
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tokens: &str) -> Result<Attributes, String> {
        let mut mistakes = Mistakes::default();
        let attributes = Attributes::read(tokens.parse().unwrap(), &mut mistakes);
        mistakes.or(attributes).map_err(|errors| {
            errors.into_iter().map(|error| error.to_string()).collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn every_example_is_read() {
        for Key(name, _, example) in KEYS {
            let attributes = read(example).unwrap();
            assert!(attributes.has(name), "{example}");
        }
    }

    #[test]
    fn every_key_has_a_row_in_the_reference() {
        let reference = include_str!("lib.rs");
        for Key(name, ..) in KEYS {
            assert!(reference.contains(&format!("`{name}")), "{name}");
        }
    }

    #[test]
    fn values_are_read() {
        let attributes = read(
            r#"topology = "1n2l4c1t", presets, requires_smt, mode = "det", timeout = "2m",
               seeds = 3..=5, expect_fail, tools = ["ip", "ss"], crate = crate::belljar,"#,
        )
        .unwrap();
        assert_eq!(attributes.topology.unwrap().cpu_count(), 8);
        assert!(attributes.presets.unwrap().is_empty());
        assert!(attributes.requires_smt.unwrap());
        assert_eq!(attributes.mode.unwrap(), ["det"]);
        assert_eq!(attributes.timeout.unwrap(), Duration::from_secs(120));
        assert_eq!(attributes.seeds.unwrap(), 3..6);
        assert_eq!(attributes.expect_fail.unwrap(), "");
        assert_eq!(attributes.tools.unwrap(), ["ip", "ss"]);
        assert_eq!(attributes.words.len(), 9);
        assert_eq!(read("seeds = 500").unwrap().seeds.unwrap(), 0..500);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for wrong in [
            "nodes = 0",
            "llcs = 4294967296",
            "cores = -1",
            "threads = 1.5",
            "memory_mib = 191",
            "memory_mib = 512 MiB",
            "memory_mib = MEMORY",
            "memory_mib =",
            "memory_mib",
            "requires_smt = 1",
            "timeout = 10",
            r#"timeout = "0s""#,
            r#"timeout = "61m""#,
            r#"timeout = "99999999999999999999s""#,
            r#"timeout = "s""#,
            r#"timeout = "10 s""#,
            "seed = 18446744073709551616",
            "seeds = 0",
            "seeds = 501",
            "seeds = 8..8",
            "seeds = 8..3",
            "seeds = 8..",
            r#"mode = "kvm" | "tcg""#,
            "tools = []",
            r#"kernel = " ""#,
            r#"expect_fail = """#,
            "expect_fail = true",
            "crate = 7",
            "crate",
        ] {
            let key = wrong.split(' ').next().unwrap();
            let message = read(wrong).map(|_| ()).unwrap_err();
            assert!(message.starts_with(&format!("`{key}` takes ")), "{wrong}: {message}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let errors = read(r#"seed = "x", llc = 2, "llcs", llcs(2), tools = ["a b", "ip", "ip"]"#);
        assert_eq!(
            errors.map(|_| ()).unwrap_err(),
            "`seed` takes a number of 64 bits, as in `seed = 7`\n\
             unknown key `llc`; did you mean `llcs`?\n\
             expected a key, as in `llcs = 2`\n\
             expected `=` or `,` after `llcs`, as in `llcs = 2`\n\
             `a b` has a space in it: write one string for each\n\
             `ip` is listed twice"
        );
    }
}
