//! The package sources of this machine, as text: which serve its own suites, and which mirror has
//! their backports.

use anyhow::{Context as _, Result};
use std::fmt::Write as _;

/// The codename of the machine's release, from the text of `/etc/os-release`.
///
/// # Errors
/// When it has none, as on testing.
pub(crate) fn codename(os_release: &str) -> Result<&str> {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|value| value.trim_matches(['"', '\'']))
        .filter(|value| !value.is_empty())
        .context("/etc/os-release names no release (VERSION_CODENAME)")
}

/// An entry of a `.sources` file, or a line of a `.list` file in that form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Names, and values with their continuation lines.
    fields: Vec<(String, String)>,
}

impl Entry {
    /// The entries of a `.sources` file.
    pub(crate) fn parse_deb822(text: &str) -> Vec<Entry> {
        let mut entries = vec![Entry { fields: Vec::new() }];
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let fields = &mut entries.last_mut().expect("there is always one").fields;
            if line.trim().is_empty() {
                entries.push(Entry { fields: Vec::new() });
            } else if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.to_owned(), value.trim().to_owned()));
            }
        }
        entries.retain(|entry| !entry.fields.is_empty());
        entries
    }

    /// The entries of a `.list` file. What options it has are kept.
    pub(crate) fn parse_list(text: &str) -> Vec<Entry> {
        text.lines().filter_map(Entry::parse_line).collect()
    }

    fn parse_line(line: &str) -> Option<Entry> {
        let line = line.split('#').next()?.trim();
        let (kind, mut rest) = line.split_once([' ', '\t'])?;
        let mut fields = vec![("Types".to_owned(), kind.to_owned())];
        let options = rest.trim_start().strip_prefix('[').and_then(|it| it.split_once(']'));
        if let Some((options, after)) = options {
            rest = after;
            for (name, value) in options.split_whitespace().filter_map(|it| it.split_once('=')) {
                let name = match name {
                    "arch" => "Architectures",
                    "lang" => "Languages",
                    "target" => "Targets",
                    name => name,
                };
                fields.push((name.to_owned(), value.replace(',', " ")));
            }
        }
        let mut words = rest.split_whitespace();
        fields.push(("URIs".to_owned(), words.next()?.to_owned()));
        fields.push(("Suites".to_owned(), words.next()?.to_owned()));
        fields.push(("Components".to_owned(), words.collect::<Vec<_>>().join(" ")));
        Some(Entry { fields })
    }

    /// The suites in which it serves packages of the distribution's main part, if any.
    fn suites(&self) -> Vec<&str> {
        let is_served = self.words("Types").any(|word| word == "deb")
            && self.words("Components").any(|word| word == "main")
            && !self.words("Enabled").any(|word| matches!(word, "no" | "false" | "0"))
            && !self.words("URIs").any(|uri| uri.starts_with("cdrom:"));
        if is_served { self.words("Suites").collect() } else { Vec::new() }
    }

    fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().filter(move |(it, _)| it.eq_ignore_ascii_case(name));
        fields.flat_map(|(_, value)| value.split_whitespace())
    }

    /// The same for other suites.
    fn render(&self, suites: &str) -> String {
        let mut text = String::new();
        for (name, value) in &self.fields {
            let value = match name.to_ascii_lowercase().as_str() {
                "types" => "deb",
                "suites" => suites,
                _ => value,
            };
            writeln!(text, "{name}: {value}").expect("a string can be written to");
        }
        text.push('\n');
        text
    }
}

/// The entries for the suites of a release, its updates included and nothing else, as the text of
/// a `.sources` file. Empty when there are none.
pub(crate) fn own_suites(entries: &[Entry], codename: &str) -> String {
    let own = ["", "-updates", "-security", "/updates"].map(|suffix| format!("{codename}{suffix}"));
    let mut text = String::new();
    for entry in entries {
        let mut suites = entry.suites();
        suites.retain(|suite| own.iter().any(|own| own == suite));
        if !suites.is_empty() {
            text.push_str(&entry.render(&suites.join(" ")));
        }
    }
    text
}

/// An entry for the backports of a release, from the mirror that serves the release itself.
pub(crate) fn backports(entries: &[Entry], codename: &str) -> Option<String> {
    let serves = |entry: &&Entry| entry.suites().contains(&codename);
    // Other distributors use the names of Debian's suites too.
    let is_debian = |entry: &&Entry| {
        entry.words("URIs").any(|uri| uri.trim_end_matches('/').ends_with("/debian"))
            || entry.suites().contains(&format!("{codename}-updates").as_str())
    };
    let mirror =
        entries.iter().filter(serves).find(is_debian).or_else(|| entries.iter().find(serves))?;
    Some(mirror.render(&format!("{codename}-backports")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb deb-src
# a comment
URIs: https://mirror.example/debian
Suites: bookworm bookworm-updates sid
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: https://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: https://off.example/debian
Suites: bookworm
Components: main
";

    #[test]
    fn the_release_is_read() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap(), "bookworm");
        assert_eq!(codename("VERSION_CODENAME=\"noble\"\n").unwrap(), "noble");
        assert!(codename("ID=debian\nVERSION_CODENAME=\n").is_err());
    }

    #[test]
    fn only_the_machines_own_suites_are_taken() {
        let own = own_suites(&Entry::parse_deb822(DEB822), "bookworm");
        let suites: Vec<&str> = own.lines().filter(|line| line.starts_with("Suites")).collect();
        assert_eq!(suites, ["Suites: bookworm bookworm-updates", "Suites: bookworm-security"]);
        assert!(own.contains("Signed-By: \n -----BEGIN"), "{own}");
        assert!(!own.contains("deb-src") && !own.contains("off.example"), "{own}");
        assert_eq!(own_suites(&Entry::parse_deb822(DEB822), "trixie"), "");
    }

    #[test]
    fn backports_come_from_the_same_mirror_with_the_same_key() {
        let backports = backports(&Entry::parse_deb822(DEB822), "bookworm").unwrap();
        assert!(backports.contains("URIs: https://mirror.example/debian\n"), "{backports}");
        assert!(backports.contains("Suites: bookworm-backports\n"), "{backports}");
        assert!(backports.contains("PGP PUBLIC KEY"), "{backports}");
    }

    #[test]
    fn lines_are_read_with_their_options() {
        let entries = Entry::parse_list(
            "# deb https://off.example/debian sid main\n\
             deb-src https://mirror.example/debian bookworm main\n\
             deb https://tools.example/runner bookworm main\n\
             deb\t[arch=amd64,i386 signed-by=/keys/a.gpg] https://mirror.example/debian/ bookworm main # ours\n",
        );
        assert_eq!(entries.len(), 3);
        let text = backports(&entries, "bookworm").unwrap();
        assert_eq!(
            text,
            "Types: deb\nArchitectures: amd64 i386\nsigned-by: /keys/a.gpg\n\
             URIs: https://mirror.example/debian/\nSuites: bookworm-backports\nComponents: main\n\n"
        );
    }
}
