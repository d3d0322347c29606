//! `cargo belljar cache`: what is kept between runs, as a whole.

use crate::args::CacheCommand;
use crate::failure::Exit;
use crate::output::{count, data, say, size};
use crate::{kernel, template};
use belljar::Config;
use belljar::host::cache_root;
use belljar_kernel::Listed;

/// Does what was asked for.
pub(crate) fn cache(command: &CacheCommand) -> anyhow::Result<Exit> {
    match command {
        CacheCommand::Size => {
            let sizes = Sizes::measure()?;
            data(format_args!("{:>10}  {}", size(sizes.kernel_bytes), sizes.kernel_words()))?;
            data(format_args!("{:>10}  {}", size(sizes.template_bytes), sizes.template_words()))?;
            let total = size(sizes.kernel_bytes + sizes.template_bytes);
            data(format_args!("{total:>10}  in {}", cache_root()?.display()))?;
        }
        CacheCommand::Gc { limit_gib } => {
            let gib = match limit_gib {
                Some(gib) => *gib,
                None => Config::of_package(&std::env::current_dir()?)?.cache_gib,
            };
            let freed = template::open()?.collect(u64::from(gib) << 30)?;
            say(format_args!("freed {}; templates may keep {gib} GiB", size(freed)));
        }
        CacheCommand::Clear => template::clear(&template::open()?)?,
    }
    Ok(Exit::Fine)
}

/// What is in the cache, and what it takes.
#[derive(Debug)]
pub(crate) struct Sizes {
    /// How many kernels.
    pub(crate) kernels: usize,
    /// What they take.
    pub(crate) kernel_bytes: u64,
    /// How many templates.
    pub(crate) templates: usize,
    /// What they take.
    pub(crate) template_bytes: u64,
}

impl Sizes {
    /// Looks.
    pub(crate) fn measure() -> anyhow::Result<Sizes> {
        let kernels = kernel::open()?.list()?;
        let templates = template::open()?.list()?;
        let bytes = |listed: &Listed| match listed {
            Listed::Intact(kernel) => kernel.manifest().bytes,
            Listed::Corrupt { .. } => 0,
        };
        Ok(Sizes {
            kernels: kernels.len(),
            kernel_bytes: kernels.iter().map(bytes).sum(),
            templates: templates.len(),
            template_bytes: templates.iter().map(|usage| usage.bytes).sum(),
        })
    }

    /// `2 kernels`.
    pub(crate) fn kernel_words(&self) -> String {
        count(self.kernels, "kernel")
    }

    /// `5 templates`.
    pub(crate) fn template_words(&self) -> String {
        count(self.templates, "template")
    }
}
