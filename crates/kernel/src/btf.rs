//! BTF: what a kernel says about its own types, and whether its kfuncs can be called with it.
//!
//! A kfunc with implicit arguments takes a last parameter that the verifier fills in, a
//! `struct bpf_prog_aux *`. The build must hide it: the kfunc's prototype loses the parameter, and
//! a function of the same name with `_impl` at its end keeps it. Some builds leave prototypes as
//! they were compiled. Then the declarations in a BPF program differ from the kernel's, and
//! libbpf refuses to load it; sched_ext schedulers fail this way.
//!
//! Which functions are kfuncs, and their flags, stands in `.BTF_ids`: sets of (id, flags) pairs.
//! The bytes are treated as hostile.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What the BTF of a kernel is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum BtfState {
    /// There is none.
    Absent,
    /// It cannot be read.
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// It can be read.
    Present {
        /// How many types it describes.
        types: usize,
        /// How many kfuncs the kernel registers.
        kfuncs: usize,
        /// The kfuncs whose prototype shows an argument that only the verifier may give. If there
        /// are any, programs that call them are refused.
        exposed: Vec<String>,
    },
}

impl BtfState {
    /// Reads the sections `.BTF` and `.BTF_ids`.
    pub(crate) fn read(btf: Option<&[u8]>, ids: Option<&[u8]>) -> Self {
        let Some(bytes) = btf else { return Self::Absent };
        let btf = match Btf::parse(bytes) {
            Ok(btf) => btf,
            Err(reason) => return Self::Damaged { reason },
        };
        let kfuncs = btf.kfuncs(ids.unwrap_or_default());
        let mut exposed: Vec<String> = kfuncs
            .iter()
            .filter(|(id, flags)| {
                flags & KF_IMPLICIT_ARGS != 0 && btf.ends_with_aux(*id) == Some(true)
            })
            .filter_map(|(id, _)| Some(btf.name(*id)?.to_owned()))
            .filter(|name| !name.ends_with("_impl"))
            .collect();
        exposed.sort();
        exposed.dedup();
        let ids: BTreeSet<u32> = kfuncs.iter().map(|(id, _)| *id).collect();
        Self::Present { types: btf.offsets.len() - 1, kfuncs: ids.len(), exposed }
    }
}

/// `enum bpf_kfunc_flags` and `enum btf_set8_flags`.
const KF_IMPLICIT_ARGS: u32 = 1 << 16;
const KF_ALL: u32 = (1 << 20) - 1;
const SET8_KFUNCS: u32 = 1;

const KIND_PTR: u32 = 2;
const KIND_STRUCT: u32 = 4;
const KIND_CONST: u32 = 10;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;

struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where the type of each id starts; id 0 is `void` and has no place.
    offsets: Vec<usize>,
}

impl<'a> Btf<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let cut = || "its header points outside of the section".to_owned();
        let header = |at| word(bytes, at).map(|word| word as usize).ok_or_else(cut);
        if header(0)? & 0xff_ffff != 0x01_eb9f {
            return Err("it does not start with the magic of BTF version 1".into());
        }
        let part = |offset: usize, len: usize| {
            let start = header(4)?.checked_add(offset).ok_or_else(cut)?;
            bytes.get(start..start.checked_add(len).ok_or_else(cut)?).ok_or_else(cut)
        };
        let types = part(header(8)?, header(12)?)?;
        let strings = part(header(16)?, header(20)?)?;
        let mut offsets = vec![usize::MAX];
        let mut at = 0;
        while at < types.len() {
            offsets.push(at);
            let info = word(types, at + 4).ok_or("a type is cut short")?;
            let count = (info & 0xffff) as usize;
            at += 12
                + match kind(info) {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    4 | 5 | 15 | 19 => 12 * count,
                    6 | 13 => 8 * count,
                    2 | 7..=12 | 16 | 18 => 0,
                    other => {
                        return Err(format!(
                            "type {} is of kind {other}, which is not known",
                            offsets.len() - 1
                        ));
                    }
                };
        }
        if at == types.len() {
            Ok(Self { types, strings, offsets })
        } else {
            Err("the last type is cut short".into())
        }
    }

    /// One of a type's three words: name, kind and count, size or type.
    fn field(&self, id: u32, field: usize) -> Option<u32> {
        word(self.types, self.offsets.get(id as usize)?.checked_add(4 * field)?)
    }

    fn kind(&self, id: u32) -> Option<u32> {
        self.field(id, 1).map(kind)
    }

    fn name(&self, id: u32) -> Option<&'a str> {
        let bytes = self.strings.get(self.field(id, 0)? as usize..)?;
        let len = bytes.iter().take(512).position(|&byte| byte == 0)?;
        std::str::from_utf8(&bytes[..len]).ok()
    }

    /// Whether a function's last parameter is a pointer to `struct bpf_prog_aux`.
    fn ends_with_aux(&self, func: u32) -> Option<bool> {
        let proto = self.field(func, 2)?;
        if self.kind(proto)? != KIND_FUNC_PROTO {
            return None;
        }
        let count = self.field(proto, 1)? as usize & 0xffff;
        let last = 12 + 8 * count.checked_sub(1)?;
        let mut id = word(self.types, self.offsets.get(proto as usize)?.checked_add(last + 4)?)?;
        if self.kind(id)? != KIND_PTR {
            return Some(false);
        }
        id = self.field(id, 2)?;
        if self.kind(id)? == KIND_CONST {
            id = self.field(id, 2)?;
        }
        Some(self.kind(id)? == KIND_STRUCT && self.name(id)? == "bpf_prog_aux")
    }

    /// The kfuncs with their flags. Sets of several kinds stand one after another with nothing
    /// between them; one of kfuncs is its length, a mark, and pairs of which the first is a
    /// function, in ascending order (0 where the function was left out of this build).
    fn kfuncs(&self, ids: &[u8]) -> Vec<(u32, u32)> {
        let words: Vec<u32> =
            ids.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let mut found = Vec::new();
        let mut at = 0;
        while at + 2 < words.len() {
            let set = words[at + 2..].as_chunks::<2>().0;
            let is_set = words[at + 1] == SET8_KFUNCS && words[at] > 0;
            match set.get(..words[at] as usize) {
                Some(set)
                    if is_set
                        && set.is_sorted_by_key(|pair| pair[0])
                        && set.iter().all(|&[id, flags]| {
                            flags & !KF_ALL == 0 && (id == 0 || self.kind(id) == Some(KIND_FUNC))
                        }) =>
                {
                    found.extend(
                        set.iter().filter(|pair| pair[0] != 0).map(|&[id, flags]| (id, flags)),
                    );
                    at += 2 + 2 * set.len();
                }
                _ => at += 1,
            }
        }
        found
    }
}

fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A kernel with one kfunc: `void kick(const struct bpf_prog_aux *aux)` if it is exposed, and
    /// `void kick(const struct task *aux)` if not.
    fn sample(exposed: bool) -> (Vec<u8>, Vec<u8>) {
        let strings = b"\0bpf_prog_aux\0task\0kick\0aux\0";
        let name = |text: &str| crate::image::find(strings, text.as_bytes()).unwrap() as u32;
        let structure = name(if exposed { "bpf_prog_aux" } else { "task" });
        let types: Vec<u32> = [
            [structure, KIND_STRUCT << 24, 8].as_slice(),       // 1
            &[0, KIND_CONST << 24, 1],                          // 2
            &[0, KIND_PTR << 24, 2],                            // 3
            &[0, KIND_FUNC_PROTO << 24 | 1, 0, name("aux"), 3], // 4
            &[name("kick"), KIND_FUNC << 24, 4],                // 5
        ]
        .concat();
        let header = [
            0x0001_eb9f,
            24,
            0,
            4 * types.len() as u32,
            4 * types.len() as u32,
            strings.len() as u32,
        ];
        let mut btf: Vec<u8> =
            header.iter().chain(&types).flat_map(|word| word.to_le_bytes()).collect();
        btf.extend(strings);
        // A list of two other ids comes first, then the set.
        let ids = [1, 5, 1, SET8_KFUNCS, 5, KF_IMPLICIT_ARGS]
            .iter()
            .flat_map(|word: &u32| word.to_le_bytes())
            .collect();
        (btf, ids)
    }

    #[test]
    fn a_kfunc_that_shows_the_verifiers_argument_is_named() {
        for (is_exposed, exposed) in [(true, vec!["kick".to_owned()]), (false, Vec::new())] {
            let (btf, ids) = sample(is_exposed);
            let state = BtfState::read(Some(&btf), Some(&ids));
            assert_eq!(state, BtfState::Present { types: 5, kfuncs: 1, exposed });
        }
    }

    #[test]
    fn a_list_that_only_looks_like_flags_is_no_kfunc() {
        // In 6.1 an id of 0x13219 follows another: bit 16 of it is no flag.
        let (btf, _) = sample(true);
        let ids: Vec<u8> = [5u32, 0x0001_3219].iter().flat_map(|word| word.to_le_bytes()).collect();
        let state = BtfState::read(Some(&btf), Some(&ids));
        assert_eq!(state, BtfState::Present { types: 5, kfuncs: 0, exposed: Vec::new() });
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let (mut btf, _) = sample(true);
        assert_eq!(BtfState::read(None, None), BtfState::Absent);
        btf[24 + 7] = 31;
        let BtfState::Damaged { reason } = BtfState::read(Some(&btf), None) else { panic!() };
        assert_eq!(reason, "type 1 is of kind 31, which is not known");
        assert!(matches!(BtfState::read(Some(b"none"), None), BtfState::Damaged { .. }));
    }

    proptest! {
        #[test]
        fn damaged_btf_is_read_without_panic(
            changes in prop::collection::vec((0usize..180, any::<u8>()), 0..6), cut in 0usize..200,
        ) {
            let (mut btf, mut ids) = sample(true);
            for (at, value) in changes {
                if let Some(byte) = btf.get_mut(at) {
                    *byte = value;
                } else if let Some(byte) = ids.get_mut(at - btf.len()) {
                    *byte = value;
                }
            }
            btf.truncate(cut);
            BtfState::read(Some(&btf), Some(&ids));
        }
    }
}
