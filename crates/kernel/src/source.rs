//! Where a kernel comes from, as people write it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::text::is_file_name;

/// Where a kernel comes from. [`Source::FORMS`] lists how to write one.
///
/// ```
/// use belljar_kernel::Source;
///
/// let source: Source = "debian:bookworm-backports:6.12,flavour=generic".parse()?;
/// assert_eq!(source.to_string(), "debian:bookworm-backports:6.12,flavour=generic");
/// assert_eq!("debian:sid,flavour=cloud".parse::<Source>()?.to_string(), "debian:sid");
/// assert!("fedora:44".parse::<Source>().unwrap_err().to_string().contains("tree:DIR"));
/// # Ok::<(), belljar_kernel::ParseSourceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A kernel of a Debian suite, from the mirror that the machine uses.
    Debian {
        /// As `sid` or `trixie-backports`.
        suite: String,
        /// A package version or its beginning, as `6.12`; without one the suite's own choice.
        version: Option<String>,
        /// The part of the package's name before the architecture: `cloud`, or `generic` for the
        /// packages that have none.
        flavour: String,
    },
    /// Debian packages on disk that together hold one kernel.
    Deb(Vec<PathBuf>),
    /// A built kernel tree.
    Tree(PathBuf),
    /// A boot image or an ELF kernel.
    Image {
        /// The image.
        image: PathBuf,
        /// A directory of modules, as `/lib/modules/RELEASE`.
        modules: Option<PathBuf>,
        /// The configuration it was built with.
        config: Option<PathBuf>,
    },
    /// The kernel that this machine runs.
    Host,
}

/// The text is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no kernel source: {reason}; the forms are {}", Source::FORMS.join(", "))]
pub struct ParseSourceError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Source {
    /// How a source is written.
    pub const FORMS: [&'static str; 5] = [
        "debian:SUITE[:VERSION][,flavour=generic]",
        "deb:FILE[,FILE...]",
        "tree:DIR",
        "image:VMLINUZ[,modules=DIR][,config=FILE]",
        "host",
    ];

    /// The flavour that is taken when none is written: small, made for virtual machines.
    pub const FLAVOUR: &'static str = "cloud";

    /// The first part of the ids of kernels from here.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Debian { .. } => "debian",
            Self::Deb(_) => "deb",
            Self::Tree(_) => "tree",
            Self::Image { .. } => "image",
            Self::Host => "host",
        }
    }

    /// The same with absolute paths, so that it means the same from everywhere.
    #[must_use]
    pub fn absolute(self) -> Self {
        fn whole(path: PathBuf) -> PathBuf {
            std::path::absolute(&path).unwrap_or(path)
        }
        match self {
            Self::Deb(files) => Self::Deb(files.into_iter().map(whole).collect()),
            Self::Tree(dir) => Self::Tree(whole(dir)),
            Self::Image { image, modules, config } => Self::Image {
                image: whole(image),
                modules: modules.map(whole),
                config: config.map(whole),
            },
            other => other,
        }
    }

    /// The files on this machine whose change makes it another kernel.
    pub(crate) fn inputs(&self) -> Vec<PathBuf> {
        match self {
            Self::Debian { .. } => Vec::new(),
            Self::Deb(files) => files.clone(),
            Self::Tree(dir) => ["vmlinux", ".config", "System.map", "modules.order"]
                .map(|name| dir.join(name))
                .into(),
            Self::Image { image, modules, config } => {
                [Some(image), modules.as_ref(), config.as_ref()]
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect()
            }
            Self::Host => vec!["/proc/sys/kernel/osrelease".into(), "/boot".into()],
        }
    }
}

impl FromStr for Source {
    type Err = ParseSourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |reason: String| ParseSourceError { text: text.to_owned(), reason };
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut words = rest.split(',');
        let first = words.next().unwrap_or_default();
        let options = || -> Result<Vec<(&str, &str)>, ParseSourceError> {
            rest.split(',')
                .skip(1)
                .map(|word| {
                    word.split_once('=').ok_or_else(|| wrong(format!("`{word}` is no NAME=VALUE")))
                })
                .collect()
        };
        if first.is_empty() && kind != "host" {
            return Err(wrong(match kind {
                "debian" | "deb" | "tree" | "image" => format!("nothing follows `{kind}:`"),
                _ => format!("`{kind}` is no kind of source"),
            }));
        }
        match kind {
            "debian" => {
                let (suite, version) = first
                    .split_once(':')
                    .map_or((first, None), |(suite, version)| (suite, Some(version)));
                let mut flavour = Self::FLAVOUR;
                for (name, value) in options()? {
                    match name {
                        "flavour" => flavour = value,
                        _ => return Err(wrong(format!("`{name}` is no option of `debian:`"))),
                    }
                }
                // These words become arguments of apt and parts of paths.
                for word in [Some(suite), version, Some(flavour)].into_iter().flatten() {
                    if !is_file_name(word) || word.starts_with('-') {
                        return Err(wrong(format!(
                            "`{word}` is no name of a suite, version or flavour"
                        )));
                    }
                }
                Ok(Self::Debian {
                    suite: suite.to_owned(),
                    version: version.map(str::to_owned),
                    flavour: flavour.to_owned(),
                })
            }
            "deb" => match rest.split(',').any(str::is_empty) {
                true => Err(wrong("a file name is missing".into())),
                false => Ok(Self::Deb(rest.split(',').map(PathBuf::from).collect())),
            },
            "tree" => Ok(Self::Tree(rest.into())),
            "image" => {
                let (mut modules, mut config) = (None, None);
                for (name, value) in options()? {
                    match name {
                        "modules" => modules = Some(value.into()),
                        "config" => config = Some(value.into()),
                        _ => return Err(wrong(format!("`{name}` is no option of `image:`"))),
                    }
                }
                Ok(Self::Image { image: first.into(), modules, config })
            }
            "host" if text == "host" => Ok(Self::Host),
            "host" => Err(wrong("`host` takes nothing".into())),
            _ => Err(wrong(format!("`{kind}` is no kind of source"))),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = |f: &mut fmt::Formatter<'_>, name: &str, value: &Option<PathBuf>| {
            value.as_deref().map_or(Ok(()), |path: &Path| write!(f, ",{name}={}", path.display()))
        };
        match self {
            Self::Debian { suite, version, flavour } => {
                write!(f, "debian:{suite}")?;
                if let Some(version) = version {
                    write!(f, ":{version}")?;
                }
                if flavour == Self::FLAVOUR { Ok(()) } else { write!(f, ",flavour={flavour}") }
            }
            Self::Deb(files) => {
                let files: Vec<String> =
                    files.iter().map(|file| file.display().to_string()).collect();
                write!(f, "deb:{}", files.join(","))
            }
            Self::Tree(dir) => write!(f, "tree:{}", dir.display()),
            Self::Image { image, modules, config } => {
                write!(f, "image:{}", image.display())?;
                option(f, "modules", modules)?;
                option(f, "config", config)
            }
            Self::Host => f.write_str("host"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for text in [
            "debian:sid",
            "debian:trixie-backports:7.2.12-1~bpo13+1",
            "debian:trixie,flavour=generic",
            "deb:a.deb,/b/c.deb",
            "tree:../linux",
            "image:/boot/vmlinuz,modules=/lib/modules/6.1,config=/boot/config",
            "host",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn mistakes_are_answered_with_the_forms() {
        for (text, reason) in [
            ("", "`` is no kind of source"),
            ("6.12", "`6.12` is no kind of source"),
            ("debian:", "nothing follows `debian:`"),
            ("debian:../x", "`../x` is no name"),
            ("debian:sid:-o", "`-o` is no name"),
            ("debian:sid,arch=arm64", "`arch` is no option of `debian:`"),
            ("deb:a.deb,", "a file name is missing"),
            ("image:x,modules", "`modules` is no NAME=VALUE"),
            ("host:x", "`host` takes nothing"),
        ] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(Source::FORMS[1]), "{text}: {error}");
        }
    }
}
