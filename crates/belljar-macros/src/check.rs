//! How the words go together: contradictions are found here, and what is left are the axes along
//! which a test varies.

use belljar_topology::{Constraints, Preset, Topology};
use proc_macro2::{Ident, Span};

use crate::attribute::Attributes;
use crate::mistake::Mistakes;

/// With bare `presets`, the most CPUs unless `max_cpus` says otherwise.
const PRESET_CPUS_MAX: u32 = 16;
/// With bare `presets`, the most nodes unless `max_nodes` says otherwise.
const PRESET_NODES_MAX: u32 = 1;

const COUNTS: [&str; 4] = ["nodes", "llcs", "cores", "threads"];
const CONSTRAINTS: [&str; 7] =
    ["min_cpus", "max_cpus", "min_llcs", "max_llcs", "min_nodes", "max_nodes", "requires_smt"];
const CONTRADICTIONS: [(&str, &[&str], &str); 4] = [
    ("topology", &COUNTS, "the notation holds all four numbers"),
    ("presets", &COUNTS, "a preset is a whole topology"),
    ("presets", &["topology"], "a preset is a whole topology"),
    ("seed", &["seeds"], "one gives a single seed and the other several"),
];

/// What a test varies in. Each axis that was given has at least one value.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Axes {
    pub(crate) machines: Vec<Machine>,
    pub(crate) modes: Vec<&'static str>,
    pub(crate) kernels: Vec<String>,
    /// Positions in the list of schedulers.
    pub(crate) schedulers: Vec<usize>,
    pub(crate) seeds: Vec<u64>,
}

/// A topology in notation, and the preset it comes from if it does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Machine {
    pub(crate) topology: String,
    pub(crate) preset: Option<&'static str>,
}

/// Checks the words against each other.
pub(crate) fn check(attributes: &Attributes, mistakes: &mut Mistakes) -> Axes {
    for (index, later) in attributes.words.iter().enumerate() {
        let found = attributes.words[..index]
            .iter()
            .find_map(|earlier| Some((earlier, contradiction(earlier, later)?)));
        if let Some((earlier, why)) = found {
            let message =
                format!("`{later}` contradicts `{earlier}`: {why}; leave one of them out");
            mistakes.add(later.span(), message);
        }
        if CONSTRAINTS.iter().any(|word| later == word) && !attributes.has("presets") {
            let message = format!("`{later}` chooses among presets: add `presets`");
            mistakes.add(later.span(), message);
        }
    }
    let modes = attributes.mode.clone().unwrap_or_default();
    let seeds = match (&attributes.seed, &attributes.seeds) {
        (_, Some(seeds)) => seeds.clone().collect(),
        (Some(seed), None) => vec![*seed],
        (None, None) => Vec::new(),
    };
    if attributes.seeds.is_some()
        && attributes.mode.as_ref().is_some_and(|mode| *mode != ["det"])
        && let Some(later) = attributes.last_of(&["mode", "seeds"])
    {
        let earlier = if later == "mode" { "seeds" } else { "mode" };
        let message = format!(
            "`{later}` contradicts `{earlier}`: seeds are runs that repeat, and only det repeats; \
             write `mode = \"det\"` or leave `mode` out"
        );
        mistakes.add(later.span(), message);
    }
    Axes {
        machines: machines(attributes, mistakes),
        modes: if attributes.seeds.is_some() { vec!["det"] } else { modes },
        kernels: attributes.kernel.clone().unwrap_or_default(),
        schedulers: (0..attributes.scheduler.iter().flatten().count()).collect(),
        seeds,
    }
}

/// Why two words cannot stand together, if they cannot.
fn contradiction(one: &Ident, other: &Ident) -> Option<&'static str> {
    let among = |word: &Ident, words: &[&str]| words.iter().any(|known| word == known);
    let (_, _, why) = CONTRADICTIONS.iter().find(|(left, right, _)| {
        (one == left && among(other, right)) || (other == left && among(one, right))
    })?;
    Some(why)
}

fn machines(attributes: &Attributes, mistakes: &mut Mistakes) -> Vec<Machine> {
    if let Some(topology) = &attributes.topology {
        return vec![Machine { topology: topology.to_string(), preset: None }];
    }
    if let Some(presets) = &attributes.presets {
        let preset = |preset: &Preset| Machine {
            topology: preset.topology().to_string(),
            preset: Some(preset.name),
        };
        return accepted(attributes, presets, mistakes).into_iter().map(preset).collect();
    }
    let Attributes { nodes, llcs, cores, threads, .. } = *attributes;
    let given = COUNTS.iter().filter(|word| attributes.has(word)).count();
    if given == 0 || given != [nodes, llcs, cores, threads].iter().flatten().count() {
        return Vec::new();
    }
    let nodes = nodes.unwrap_or(1);
    let llcs = llcs.unwrap_or(nodes);
    match Topology::new(nodes, llcs, cores.unwrap_or(2), threads.unwrap_or(1)) {
        Ok(topology) => vec![Machine { topology: topology.to_string(), preset: None }],
        Err(error) => {
            let at = attributes.last_of(&COUNTS).map_or_else(Span::call_site, Ident::span);
            mistakes.add(at, error);
            Vec::new()
        }
    }
}

/// The presets to run on. Those named must meet the constraints; otherwise all that meet them.
fn accepted(
    attributes: &Attributes,
    presets: &[(&'static Preset, Span)],
    mistakes: &mut Mistakes,
) -> Vec<&'static Preset> {
    let all = presets.is_empty();
    let a = attributes;
    let bounds = [
        ("cpus", a.min_cpus, a.max_cpus, PRESET_CPUS_MAX),
        ("llcs", a.min_llcs, a.max_llcs, u32::MAX),
        ("nodes", a.min_nodes, a.max_nodes, PRESET_NODES_MAX),
    ];
    let [cpus, llcs, nodes] = bounds.map(|(what, min, max, implied)| {
        let least = min.unwrap_or(1);
        let most = max.unwrap_or(if all { implied } else { u32::MAX });
        if least <= most {
            return Some((least, most));
        }
        let message = if max.is_some() {
            format!("`min_{what} = {least}` is above `max_{what} = {most}`: no machine has both")
        } else {
            format!(
                "`min_{what} = {least}` is above {most}, where `presets` stops by itself: \
                 add `max_{what} = {least}` or more"
            )
        };
        let later = attributes.last_of(&[&format!("min_{what}"), &format!("max_{what}")]);
        mistakes.add(later.map_or_else(Span::call_site, Ident::span), message);
        None
    });
    let (Some(cpus), Some(llcs), Some(nodes)) = (cpus, llcs, nodes) else { return Vec::new() };
    let constraints = Constraints {
        min_cpus: cpus.0,
        max_cpus: cpus.1,
        min_llcs: llcs.0,
        max_llcs: llcs.1,
        min_numa_nodes: nodes.0,
        max_numa_nodes: nodes.1,
        requires_smt: attributes.requires_smt,
    };
    if !all {
        for (preset, span) in presets {
            if let Err(rejection) = constraints.accepts(&preset.topology()) {
                // The keys here say `nodes` where the topology crate says `numa_nodes`.
                let why = rejection.to_string().replace("_numa_nodes", "_nodes");
                mistakes.add(*span, format!("`{}`: {why}", preset.name));
            }
        }
        return presets.iter().map(|(preset, _)| *preset).collect();
    }
    let accepted = constraints.presets().unwrap_or_default();
    if accepted.is_empty() {
        let names: Vec<&str> = Preset::ALL.iter().map(|preset| preset.name).collect();
        let message = format!(
            "no preset meets these constraints (without `max_cpus` it stops at {PRESET_CPUS_MAX} \
             CPUs, without `max_nodes` at {PRESET_NODES_MAX} node); there are {}",
            names.join(", ")
        );
        mistakes.add(attributes.place("presets"), message);
    }
    accepted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(tokens: &str) -> Result<Axes, String> {
        let mut mistakes = Mistakes::default();
        let attributes = Attributes::read(tokens.parse().unwrap(), &mut mistakes);
        let axes = check(&attributes, &mut mistakes);
        mistakes.or(axes).map_err(|errors| {
            errors.into_iter().map(|error| error.to_string()).collect::<Vec<_>>().join("\n")
        })
    }

    fn topologies(tokens: &str) -> Vec<String> {
        axes(tokens).unwrap().machines.into_iter().map(|machine| machine.topology).collect()
    }

    #[test]
    fn nothing_given_leaves_every_axis_to_the_workspace() {
        assert_eq!(axes(""), Ok(Axes::default()));
    }

    #[test]
    fn counts_that_are_not_given_have_defaults() {
        assert_eq!(topologies("llcs = 2"), ["1n2l2c1t"]);
        assert_eq!(topologies("nodes = 2"), ["2n2l2c1t"]);
        assert_eq!(topologies("threads = 2, cores = 1"), ["1n1l1c2t"]);
        assert_eq!(
            axes("llcs = 3, nodes = 2").unwrap_err(),
            "3 LLCs in total do not divide evenly among 2 nodes: give a multiple of 2, \
             or name the LLCs of every node"
        );
    }

    #[test]
    fn bare_presets_stop_at_sixteen_cpus_and_one_node() {
        let all = topologies("presets");
        assert_eq!(all.len(), 7);
        assert!(all.iter().all(|topology| topology.starts_with("1n")));
        assert_eq!(topologies("presets, min_cpus = 32, max_cpus = 32"), ["1n4l8c1t", "1n4l4c2t"]);
        assert_eq!(topologies("presets, min_nodes = 2, max_nodes = 2"), ["2n4l4c1t"]);
        assert_eq!(topologies(r#"presets = "4numa-32cpu-8llc-nosmt""#), ["4n8l4c1t"]);
        assert_eq!(topologies("presets, requires_smt").len(), 2);
        assert_eq!(topologies("presets, requires_smt = false").len(), 5);
    }

    #[test]
    fn seeds_mean_det() {
        assert_eq!(axes("seeds = 2").unwrap().modes, ["det"]);
        assert_eq!(axes(r#"seeds = 2, mode = "det""#).unwrap().modes, ["det"]);
        assert_eq!(axes("seed = 2").unwrap().modes, [""; 0]);
        for wrong in [r#"seeds = 2, mode = ["det", "tcg"]"#, r#"mode = "kvm", seeds = 2"#] {
            assert!(axes(wrong).unwrap_err().contains("only det repeats"));
        }
    }

    #[test]
    fn contradictions_name_both_words() {
        for (wrong, start) in [
            (r#"topology = "1n1l1c1t", cores = 2"#, "`cores` contradicts `topology`: "),
            (r#"nodes = 2, topology = "1n1l1c1t""#, "`topology` contradicts `nodes`: "),
            ("threads = 2, presets", "`presets` contradicts `threads`: "),
            ("seeds = 2, seed = 1", "`seed` contradicts `seeds`: "),
            ("max_llcs = 2", "`max_llcs` chooses among presets: add `presets`"),
            ("presets, min_llcs = 3, max_llcs = 2", "`min_llcs = 3` is above `max_llcs = 2`: "),
            ("presets, min_cpus = 17", "`min_cpus = 17` is above 16, where `presets` stops "),
            ("presets, min_nodes = 2", "`min_nodes = 2` is above 1, where `presets` stops "),
            ("presets, min_llcs = 9", "no preset meets these constraints "),
            (
                r#"presets = ["2numa-16cpu-4llc-nosmt"], max_nodes = 1"#,
                "`2numa-16cpu-4llc-nosmt`: number of NUMA nodes is 2, and max_nodes is 1",
            ),
        ] {
            let message = axes(wrong).unwrap_err();
            assert!(message.starts_with(start), "{wrong}: {message}");
            assert_eq!(message.lines().count(), 1, "{wrong}: {message}");
        }
    }
}
