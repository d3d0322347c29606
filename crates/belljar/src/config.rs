//! `belljar.toml`: what tests leave unsaid.

use belljar_topology::Topology;
use serde::Deserialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file, at the root of the workspace.
const FILE: &str = "belljar.toml";

/// What tests leave unsaid, from `belljar.toml` at the root of the workspace.
///
/// Every key is optional; a key that is not known is an error:
///
/// ```
/// let config = belljar::Config::parse(r#"
///     mode = "auto"            # kvm, tcg, det or auto
///     kernel = "debian:sid"    # what `cargo belljar kernel fetch` takes
///     topology = "1n1l4c1t"
///     memory_mib = 512
///     timeout_s = 60           # of guest time, for a body
///     cache_gib = 10           # templates beyond that are thrown away
/// "#)?;
/// assert_eq!(config, belljar::Config::default());
/// assert!(belljar::Config::parse("memory = 1").unwrap_err().to_string().contains("`memory`"));
/// # Ok::<(), belljar::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The mode of tests that declare none.
    pub mode: String,
    /// The kernel of tests that declare none.
    pub kernel: String,
    /// The topology of tests that declare none.
    pub topology: Topology,
    /// The memory, in MiB, of tests that declare none.
    pub memory_mib: u32,
    /// How long a body may take, in seconds of guest time, where it declares nothing.
    pub timeout_s: u32,
    /// How large the cache of templates may grow, in GiB.
    pub cache_gib: u32,
    /// QEMU's CPU model, in place of the mode's own.
    pub cpu_model: Option<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            mode: String::from("auto"),
            kernel: String::from("debian:sid"),
            topology: "1n1l4c1t".parse().expect("it is well formed"),
            memory_mib: 512,
            timeout_s: 60,
            cache_gib: 10,
            cpu_model: None,
        }
    }
}

/// `belljar.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// It makes no sense.
    #[error("{}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why, with the line.
        message: String,
    },
}

impl Config {
    /// The configuration for a package: from the nearest `belljar.toml` in its directory
    /// or above, up to the root of its repository.
    ///
    /// # Errors
    /// When there is one and it cannot be used.
    pub fn of_package(manifest_dir: &Path) -> Result<Config, ConfigError> {
        for directory in manifest_dir.ancestors() {
            let path = directory.join(FILE);
            match fs::read_to_string(&path) {
                Ok(text) => return Config::parse_file(&text, &path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(ConfigError::Read { path, source }),
            }
            if directory.join(".git").exists() {
                break;
            }
        }
        Ok(Config::default())
    }

    /// The configuration in a text.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse_file(text, Path::new(FILE))
    }

    fn parse_file(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let refused = |message: String| ConfigError::Parse { path: path.to_owned(), message };
        let config: Config = toml::from_str(text).map_err(|error| refused(error.to_string()))?;
        if !matches!(config.mode.as_str(), "auto" | "kvm" | "tcg" | "det") {
            let mode = &config.mode;
            return Err(refused(format!("mode = `{mode}`: there are auto, kvm, tcg and det")));
        }
        Ok(config)
    }
}
