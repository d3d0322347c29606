//! Arithmetic: chains in which each step needs the one before. Enters the kernel on interrupts alone;
//! wide registers make for more state at each context switch (`XSAVE`).

use std::arch::asm;

use belljar_scenario::AluWidth;

use super::Job;
use super::cache::Footprint;
use crate::hand::{Hand, Outcome, Refusal};

/// A width that this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Scalar,
    Vec128,
    Vec256,
    Vec512,
    Amx,
}

impl Width {
    /// The declared width, if the CPU has it.
    pub(super) fn choose(width: AluWidth) -> Result<Self, Refusal> {
        let wide = |width, there: bool, feature: &str| {
            let text = || Refusal(format!("this CPU has no {feature}: choose a narrower width"));
            there.then_some(width).ok_or_else(text)
        };
        let (avx2, avx512) =
            (is_x86_feature_detected!("avx2"), is_x86_feature_detected!("avx512f"));
        match width {
            AluWidth::Scalar => Ok(Self::Scalar),
            AluWidth::Vec128 => Ok(Self::Vec128),
            AluWidth::Vec256 => wide(Self::Vec256, avx2, "AVX2"),
            AluWidth::Vec512 => wide(Self::Vec512, avx512, "AVX-512 (avx512f)"),
            AluWidth::Amx => wide(Self::Amx, has_amx(), "AMX (amx-tile, amx-int8)"),
            AluWidth::Widest => Ok(match () {
                () if has_amx() => Self::Amx,
                () if avx512 => Self::Vec512,
                () if avx2 => Self::Vec256,
                () => Self::Vec128,
            }),
        }
    }
}

/// Whether the CPU has matrix tiles of bytes, and the kernel lets this process use them.
fn has_amx() -> bool {
    const REQUEST_PERMISSION: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // Leaf 7, EDX: bit 24 is AMX-TILE, bit 25 AMX-INT8.
    let features = std::arch::x86_64::__cpuid_count(7, 0).edx;
    // SAFETY: the call takes plain numbers, and widens what the kernel saves of this process.
    features >> 24 & 3 == 3
        && unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) } == 0
}

/// A chain of steps.
pub(super) struct Alu {
    width: Width,
    /// The state between calls, as wide as the widest vector.
    state: Lanes,
}

#[repr(align(64))]
struct Lanes([u64; 8]);

/// `LDTILECFG`'s operand: palette 1, and three tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct TileConfig([u8; 64]);

impl Alu {
    pub(super) fn new(width: Width) -> Self {
        Self { width, state: Lanes([0x9e37_79b9_7f4a_7c15; 8]) }
    }

    /// Does so many steps.
    pub(super) fn step(&mut self, steps: u64) {
        let steps = steps.max(1);
        match self.width {
            Width::Scalar => self.scalar(steps),
            Width::Vec128 => self.vec128(steps),
            // SAFETY: this width was chosen as the CPU has AVX2.
            Width::Vec256 => unsafe { self.vec256(steps) },
            // SAFETY: this width was chosen as the CPU has AVX-512.
            Width::Vec512 => unsafe { self.vec512(steps) },
            Width::Amx => amx(steps),
        }
    }

    fn scalar(&mut self, steps: u64) {
        // SAFETY: the loop changes the two registers that it says it does.
        unsafe {
            asm!(
                "2:", "imul {x}, {x}, 0x5bd1e995", "rol {x}, 13", "dec {n}", "jnz 2b",
                n = inout(reg) steps => _, x = inout(reg) self.state.0[0],
                options(nomem, nostack)
            );
        }
    }

    fn vec128(&mut self, steps: u64) {
        // SAFETY: `state` is aligned, and 64 bytes long; SSE2 is part of x86-64.
        unsafe {
            asm!(
                "movdqa {v}, [{p}]",
                "2:", "pmuludq {v}, {v}", "paddq {v}, [{p}]", "dec {n}", "jnz 2b",
                "movdqa [{p}], {v}",
                n = inout(reg) steps => _, p = in(reg) &raw mut self.state, v = out(xmm_reg) _,
                options(nostack)
            );
        }
    }

    #[target_feature(enable = "avx2")]
    fn vec256(&mut self, steps: u64) {
        // SAFETY: `state` is aligned, and 64 bytes long; the CPU has AVX2.
        unsafe {
            asm!(
                "vmovdqa {v}, [{p}]",
                "2:", "vpmuludq {v}, {v}, {v}", "vpaddq {v}, {v}, [{p}]", "dec {n}", "jnz 2b",
                "vmovdqa [{p}], {v}",
                n = inout(reg) steps => _, p = in(reg) &raw mut self.state, v = out(ymm_reg) _,
                options(nostack)
            );
        }
    }

    #[target_feature(enable = "avx512f")]
    fn vec512(&mut self, steps: u64) {
        // SAFETY: `state` is aligned, and 64 bytes long; the CPU has AVX-512.
        unsafe {
            asm!(
                "vmovdqa64 {v}, [{p}]",
                "2:", "vpmuludq {v}, {v}, {v}", "vpaddq {v}, {v}, [{p}]", "dec {n}", "jnz 2b",
                "vmovdqa64 [{p}], {v}",
                n = inout(reg) steps => _, p = in(reg) &raw mut self.state, v = out(zmm_reg) _,
                options(nostack)
            );
        }
    }
}

/// Products of tiles, each added to the one before. The tiles are set up and given back each time,
/// which costs little against 1024 products.
fn amx(steps: u64) {
    let mut config = TileConfig([0; 64]);
    config.0[0] = 1;
    for tile in 0..3 {
        config.0[16 + 2 * tile] = 64;
        config.0[48 + tile] = 16;
    }
    // SAFETY: the CPU has tiles and the kernel gave leave to use them; `config` is a valid
    // configuration, and no tile is in use before or after.
    unsafe {
        asm!(
            "ldtilecfg [{config}]",
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2",
            "2:", "tdpbssd tmm0, tmm1, tmm2", "dec {n}", "jnz 2b",
            "tilerelease",
            config = in(reg) &raw const config, n = inout(reg) steps => _,
            options(nostack)
        );
    }
}

/// One chain, as wide as declared.
pub(super) struct AluHot {
    pub(super) width: AluWidth,
}

impl Job for AluHot {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        let mut alu = Alu::new(Width::choose(self.width)?);
        while hand.goes_on() {
            alu.step(1024);
            hand.did(1);
        }
        Ok(())
    }
}

/// Arithmetic, and then accesses that miss the caches: what a scheduler sees that counts cycles and
/// instructions.
pub(super) struct IpcVariance {
    pub(super) hot: u32,
    pub(super) cold: u32,
    pub(super) period: u32,
}

impl Job for IpcVariance {
    fn work(&self, hand: &mut Hand<'_>) -> Outcome {
        const COLD_BYTES: u64 = 8 << 20;
        let mut alu = Alu::new(Width::Scalar);
        let mut footprint = Footprint::new(COLD_BYTES, 64);
        let mut done = 0;
        let mut phase = 0;
        while hand.goes_on() {
            let (mut left, is_hot) = match phase % 2 {
                0 => (u64::from(self.hot), true),
                _ => (u64::from(self.cold), false),
            };
            while left > 0 && hand.goes_on() {
                let part = left.min(1024);
                if is_hot {
                    alu.step(part);
                } else {
                    (0..part).for_each(|_| footprint.touch_far());
                }
                left -= part;
                done += part;
                hand.did_part(done / 1024);
                done %= 1024;
            }
            hand.did(0);
            phase += 1;
            if phase >= self.period {
                (phase, alu) = (0, Alu::new(Width::Scalar));
            }
        }
        Ok(())
    }
}
