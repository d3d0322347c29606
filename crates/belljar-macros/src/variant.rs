//! The axes multiplied out: one variant for each test, with the name it gets.

use std::collections::BTreeSet;

use proc_macro2::Span;

use crate::attribute::{Attributes, VARIANTS_MAX};
use crate::check::{Axes, Machine};
use crate::mistake::Mistakes;

/// One test of a case.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Variant {
    /// An identifier made of the axes that vary; empty where none does.
    pub(crate) label: String,
    pub(crate) machine: Option<Machine>,
    pub(crate) mode: Option<&'static str>,
    pub(crate) kernel: Option<String>,
    /// Its position in the list of schedulers.
    pub(crate) scheduler: Option<usize>,
    pub(crate) seed: Option<u64>,
}

/// All variants: presets outermost, then modes, kernels, schedulers and seeds.
pub(crate) fn variants(
    axes: &Axes,
    attributes: &Attributes,
    mistakes: &mut Mistakes,
) -> Vec<Variant> {
    let Axes { machines, modes, kernels, schedulers, seeds } = axes;
    let lengths = [machines.len(), modes.len(), kernels.len(), schedulers.len(), seeds.len()];
    let counts = lengths.map(|length| length.max(1) as u64);
    let count = counts.into_iter().fold(1, u64::saturating_mul);
    if count > VARIANTS_MAX {
        let last = attributes.last_of(&["presets", "mode", "kernel", "scheduler", "seeds"]);
        let [machines, modes, kernels, schedulers, seeds] = counts;
        let message = format!(
            "this makes {count} tests (presets {machines} * modes {modes} * kernels {kernels} * \
             schedulers {schedulers} * seeds {seeds}): {VARIANTS_MAX} is the most for one function"
        );
        mistakes.add(last.map_or_else(Span::call_site, |word| word.span()), message);
        return Vec::new();
    }
    let mut variants = Vec::new();
    for machine in options(machines) {
        for mode in options(modes) {
            for kernel in options(kernels) {
                for (scheduler, seed) in options(schedulers)
                    .flat_map(|scheduler| options(seeds).map(move |seed| (scheduler, seed)))
                {
                    let preset = machine.and_then(|machine| machine.preset);
                    let parts = [
                        preset.map(|preset| format!("on_{}", word(preset))),
                        mode.map(|mode| (*mode).to_owned()),
                        kernel.map(|kernel| format!("kernel_{}", word(kernel))),
                        scheduler.map(|&at| {
                            last_word(&attributes.scheduler.as_deref().unwrap_or_default()[at])
                        }),
                        seed.map(|seed| format!("seed_{seed}")),
                    ];
                    let varying = parts.into_iter().zip(lengths).filter(|(_, length)| *length > 1);
                    variants.push(Variant {
                        label: varying.filter_map(|(part, _)| part).collect::<Vec<_>>().join("_"),
                        machine: machine.cloned(),
                        mode: mode.copied(),
                        kernel: kernel.cloned(),
                        scheduler: scheduler.copied(),
                        seed: seed.copied(),
                    });
                }
            }
        }
    }
    let mut labels = BTreeSet::new();
    if let Some(twice) = variants.iter().find(|variant| !labels.insert(variant.label.as_str())) {
        // Kernels' names have characters that identifiers have not; schedulers may be given twice.
        let message = format!("two tests would be called `{}`", twice.label);
        let last = attributes.last_of(&["kernel", "scheduler"]);
        mistakes.add(last.map_or_else(Span::call_site, |word| word.span()), message);
    }
    variants
}

/// Each value of an axis, or none once.
fn options<T>(axis: &[T]) -> impl Iterator<Item = Option<&T>> {
    let none = axis.is_empty().then_some(None);
    axis.iter().map(Some).chain(none)
}

/// A scheduler's word in a label: the name that it is declared by.
fn last_word(path: &syn::Path) -> String {
    path.segments.last().map(|last| word(&last.ident.to_string())).unwrap_or_default()
}

/// The characters of an identifier: lower case, and `_` for all that identifiers cannot hold.
fn word(text: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;

    fn expanded(tokens: &str) -> Result<Vec<Variant>, String> {
        let mut mistakes = Mistakes::default();
        let attributes = Attributes::read(tokens.parse().unwrap(), &mut mistakes);
        let axes = check(&attributes, &mut mistakes);
        let variants = variants(&axes, &attributes, &mut mistakes);
        mistakes.or(variants).map_err(|error| error.to_string())
    }

    fn labels(tokens: &str) -> Vec<String> {
        expanded(tokens).unwrap().into_iter().map(|variant| variant.label).collect()
    }

    #[test]
    fn what_does_not_vary_is_not_in_the_label() {
        assert_eq!(expanded(""), Ok(vec![Variant::default()]));
        let one = r#"presets = "8cpu-2llc-smt", mode = "det", kernel = "debian:sid", seeds = 1"#;
        let expected = Variant {
            label: String::new(),
            machine: Some(Machine {
                topology: "1n2l2c2t".to_owned(),
                preset: Some("8cpu-2llc-smt"),
            }),
            mode: Some("det"),
            kernel: Some("debian:sid".to_owned()),
            scheduler: None,
            seed: Some(0),
        };
        assert_eq!(expanded(one), Ok(vec![expected]));
    }

    #[test]
    fn axes_multiply_in_order() {
        assert_eq!(
            labels(
                r#"seeds = 3..5, kernel = ["debian:sid", "tree:/src/Linux"],
                   presets = ["4cpu-1llc-nosmt", "2numa-16cpu-4llc-nosmt"]"#
            ),
            [
                "on_4cpu_1llc_nosmt_kernel_debian_sid_seed_3",
                "on_4cpu_1llc_nosmt_kernel_debian_sid_seed_4",
                "on_4cpu_1llc_nosmt_kernel_tree__src_linux_seed_3",
                "on_4cpu_1llc_nosmt_kernel_tree__src_linux_seed_4",
                "on_2numa_16cpu_4llc_nosmt_kernel_debian_sid_seed_3",
                "on_2numa_16cpu_4llc_nosmt_kernel_debian_sid_seed_4",
                "on_2numa_16cpu_4llc_nosmt_kernel_tree__src_linux_seed_3",
                "on_2numa_16cpu_4llc_nosmt_kernel_tree__src_linux_seed_4",
            ]
        );
        assert_eq!(
            labels(r#"mode = ["kvm", "tcg", "det", "auto"]"#),
            ["kvm", "tcg", "det", "auto"]
        );
    }

    #[test]
    fn schedulers_are_an_axis_of_their_own() {
        assert_eq!(
            labels("scheduler = [EEVDF, schedulers::MINE], seeds = 2"),
            ["eevdf_seed_0", "eevdf_seed_1", "mine_seed_0", "mine_seed_1"]
        );
        assert_eq!(labels("scheduler = MINE"), [""]);
        assert_eq!(
            expanded("scheduler = [a::X, b::X]").unwrap_err(),
            "two tests would be called `x`"
        );
    }

    #[test]
    fn too_many_and_ambiguous_variants_are_refused() {
        assert_eq!(labels("seeds = 500").len(), 500);
        assert_eq!(
            expanded("presets, seeds = 100").unwrap_err(),
            "this makes 700 tests (presets 7 * modes 1 * kernels 1 * schedulers 1 * seeds 100): \
             500 is the most for one function"
        );
        assert_eq!(
            expanded(r#"kernel = ["tree:a-b", "tree:a.b"]"#).unwrap_err(),
            "two tests would be called `kernel_tree_a_b`"
        );
    }
}
