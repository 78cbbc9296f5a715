//! Under which name the program was started: as itself, as a plugin of kubectl, or as what kubectl
//! asks for the completions of that plugin.

use std::ffi::OsStr;
use std::path::Path;

use clap::Command;

/// The name of the program, from the first argument of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Operator,
    /// `kubectl-fdi`, which kubectl starts for `kubectl fdi`.
    Plugin,
    /// `kubectl_complete-fdi`, which kubectl starts to complete `kubectl fdi …`.
    Completer,
}

/// How the user started this program, for messages that name a command: whoever has the plugin
/// need not have a program `fdi-operator`.
pub fn typed() -> &'static str {
    Program::of_process().typed()
}

impl Program {
    /// Of this process.
    pub fn of_process() -> Self {
        std::env::args_os().next().map_or(Self::Operator, |name| Self::named(&name))
    }

    fn named(name: &OsStr) -> Self {
        match Path::new(name).file_stem().and_then(OsStr::to_str) {
            Some("kubectl-fdi") => Self::Plugin,
            Some("kubectl_complete-fdi") => Self::Completer,
            _ => Self::Operator,
        }
    }

    /// The command line under this name.
    pub fn command(self, command: Command) -> Command {
        match self {
            Self::Operator => command,
            Self::Plugin | Self::Completer => command
                .name("kubectl-fdi")
                .bin_name(self.typed())
                .about("Shows and steers FDI tasks of Huawei Cloud ROMA Connect that fdi-operator manages")
                .mut_subcommand("run", |run| run.hide(true)),
        }
    }

    /// As users type it.
    pub fn typed(self) -> &'static str {
        match self {
            Self::Operator => "fdi-operator",
            Self::Plugin | Self::Completer => "kubectl fdi",
        }
    }

    /// As shells know it.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Operator => "fdi-operator",
            Self::Plugin | Self::Completer => "kubectl-fdi",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_says_what_it_is() {
        let named = |name: &str| Program::named(OsStr::new(name));
        assert_eq!(named("/usr/local/bin/kubectl-fdi"), Program::Plugin);
        assert_eq!(named("kubectl-fdi.exe"), Program::Plugin);
        assert_eq!(named("kubectl_complete-fdi"), Program::Completer);
        assert_eq!(named("./fdi-operator"), Program::Operator);
        assert_eq!(named(""), Program::Operator);
    }
}
