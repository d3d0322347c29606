//! The configuration that a kernel was built with.

use std::collections::BTreeMap;
use std::fmt;

use crate::compression::Compression;
use crate::image::find;

/// A kernel's configuration: the lines of its `.config`.
///
/// ```
/// use belljar_kernel::{Config, Setting};
///
/// let config = Config::parse("CONFIG_PSI=y\nCONFIG_INET_DIAG=m\n# CONFIG_NUMA is not set\n");
/// assert_eq!(config.get("PSI"), Setting::Yes);
/// assert_eq!(config.get("CONFIG_INET_DIAG"), Setting::Module);
/// assert_eq!(config.get("CONFIG_NUMA"), Setting::Unset);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config(BTreeMap<String, Setting>);

/// What an option is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// `=y`
    Yes,
    /// `=m`
    Module,
    /// `=` something else: a number or a text in quotes.
    Value(String),
    /// `is not set`, or not mentioned.
    Unset,
}

impl Config {
    /// What the build may put into the kernel itself (`CONFIG_IKCONFIG`).
    const EMBEDDED_START: &'static [u8] = b"IKCFG_ST";

    /// Reads a `.config`. What is no setting is passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let settings = text.lines().filter_map(|line| {
            let (name, value) = line.trim().split_once('=')?;
            let setting = match value {
                "y" => Setting::Yes,
                "m" => Setting::Module,
                other => Setting::Value(other.to_owned()),
            };
            name.starts_with("CONFIG_").then(|| (name.to_owned(), setting))
        });
        Self(settings.collect())
    }

    /// What an option is set to; its name with or without `CONFIG_`.
    #[must_use]
    pub fn get(&self, option: &str) -> Setting {
        let setting = match option.starts_with("CONFIG_") {
            true => self.0.get(option),
            false => self.0.get(&format!("CONFIG_{option}")),
        };
        setting.cloned().unwrap_or(Setting::Unset)
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of the configuration inside an ELF kernel built with `CONFIG_IKCONFIG`.
    pub(crate) fn embedded(vmlinux: &[u8]) -> Option<Vec<u8>> {
        let start = find(vmlinux, Self::EMBEDDED_START)? + Self::EMBEDDED_START.len();
        Compression::Gzip.decompress(&vmlinux[start..], 16 << 20).ok()
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("=y"),
            Self::Module => f.write_str("=m"),
            Self::Value(value) => write!(f, "={value}"),
            Self::Unset => f.write_str(" is not set"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn an_embedded_configuration_is_found() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(b"CONFIG_PSI=y\n").unwrap();
        let vmlinux =
            [b"\x7fELF..IKIKCFG_ST".as_slice(), &gz.finish().unwrap(), b"IKCFG_ED"].concat();
        assert_eq!(Config::embedded(&vmlinux).unwrap(), b"CONFIG_PSI=y\n");
        assert_eq!(Config::embedded(b"IKCFG_ST no gzip"), None);
    }
}
