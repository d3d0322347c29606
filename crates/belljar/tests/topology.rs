//! What a test declares is what the guest's kernel finds: every file of sysfs that
//! tells of caches, siblings, nodes and distances, for shapes up to 16 CPUs.

use belljar::{Ctx, Result};
use std::fs;
use std::path::Path;

fn sysfs_is_as_declared(ctx: &Ctx) -> Result {
    let declared = ctx.declared();
    let files = declared.sysfs().files();
    assert_eq!(files.len(), (3 * declared.cpu_count() + 2 * declared.node_count()) as usize);
    for (path, expected) in files {
        let path = Path::new("/sys/devices/system").join(path);
        let found = fs::read_to_string(&path)?;
        assert_eq!(found.trim(), expected.trim(), "{} in {declared}", path.display());
    }
    // And the view that tests get says the same in its own words.
    let view = ctx.topology()?;
    assert_eq!(view.cpus, declared.cpus());
    assert_eq!(view.llcs.len(), declared.llc_count() as usize);
    assert_eq!(view.cores.len(), declared.core_count() as usize);
    assert_eq!(view.nodes.len(), declared.node_count() as usize);
    assert_eq!(view.has_smt(), declared.has_smt());
    for (node, declared) in view.nodes.iter().zip(declared.distances()) {
        assert_eq!(&node.distances, declared);
    }
    Ok(())
}

macro_rules! shapes {
    ($($name:ident $notation:literal;)*) => { $(
        #[belljar::test(mode = "tcg", topology = $notation)]
        fn $name(ctx: &Ctx) -> Result {
            sysfs_is_as_declared(ctx)
        }
    )* };
}

shapes! {
    one_cpu "1n1l1c1t";
    one_core_with_two_threads "1n1l1c2t";
    two_caches "1n2l2c1t";
    two_caches_with_threads "1n2l2c2t";
    three_caches_of_three "1n3l3c1t";
    four_caches "1n4l2c1t";
    two_nodes "2n2l2c1t";
    two_nodes_with_two_caches_each "2n4l2c1t";
    sixteen_cpus "2n4l2c2t";
    a_node_without_cpus "3n1+1+0l2c1t";
}

/// Preset by name, as the gauntlets of scheduler tests use them.
#[belljar::test(mode = "tcg", presets = ["8cpu-2llc-smt", "4cpu-2llc-nosmt"])]
fn presets_are_what_their_names_say(ctx: &Ctx) -> Result {
    sysfs_is_as_declared(ctx)
}
