//! The page of every flag, from the command line itself.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::cell;

const START: &str = "\
# Every flag

Generated with `make docs` from the command line itself; a test compares them. `fdi-operator COMMAND
--help` shows the same.

`fdi-operator --version` prints the version and the commit. A flag beats its environment variable.
An unusable value ends `run` with exit code 2, and other commands with 1, with a message that names
the flag. Durations are written as `15s`, `500ms` or `1m30s`.
";

const END: &str = "
## Environment

Variables that are not flags:

| Variable | Meaning |
|---|---|
| `HUAWEICLOUD_SDK_AK`, `HUAWEICLOUD_SDK_SK`, `HUAWEICLOUD_SDK_SECURITY_TOKEN`, `HUAWEICLOUD_SDK_PROJECT_ID` | with `--credentials environment`: the key that commands sign in with, as for the official SDK |
| `NO_COLOR` | no colours, on terminals either |
| `KUBECONFIG` | outside of a cluster: how to reach the API server, as for kubectl |
| `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` | [proxies](sign-in.md#proxies) for requests to ROMA Connect and IAM |
| `SSL_CERT_FILE`, `SSL_CERT_DIR` | where the certificate authorities of the system are, instead of the usual places |
| `_RJEM_MALLOC_CONF` | options of the allocator, jemalloc |
";

pub fn page(program: &Command) -> String {
    let mut page = START.to_owned();
    for command in program.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(page, "\n## fdi-operator {}\n\n{}.\n", command.get_name(), about.trim_end_matches('.'));
        let flags: Vec<&Arg> =
            command.get_arguments().filter(|arg| arg.get_long().is_some_and(|long| long != "help")).collect();
        if flags.is_empty() {
            page.push_str("\nIt has no flags.\n");
            continue;
        }
        let from_environment = flags.iter().any(|flag| flag.get_env().is_some());
        page.push_str(if from_environment {
            "\n| Flag | Environment | Default | Meaning |\n|---|---|---|---|\n"
        } else {
            "\n| Flag | Default | Meaning |\n|---|---|---|\n"
        });
        for flag in flags {
            page.push_str(&row(flag, from_environment));
        }
    }
    page.push_str(END);
    page
}

fn row(flag: &Arg, from_environment: bool) -> String {
    let long = flag.get_long().unwrap_or_default();
    let value = flag.get_value_names().filter(|_| flag.get_action().takes_values()).and_then(<[_]>::first);
    let mut name = value.map_or(format!("`--{long}`"), |value| format!("`--{long}={value}`"));
    if let Some(short) = flag.get_short() {
        let _ = write!(name, ", `-{short}`");
    }
    let defaults: Vec<&str> = flag.get_default_values().iter().filter_map(|value| value.to_str()).collect();
    let default = match &defaults[..] {
        [] if flag.is_required_set() => "required".to_owned(),
        [] => String::new(),
        [default, ..] => format!("`{default}`"),
    };
    let help = flag.get_long_help().or_else(|| flag.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut help = cell(&help);
    let possible: Vec<String> =
        flag.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if flag.get_action().takes_values() && !possible.is_empty() && possible.len() > 2 {
        let _ = write!(help, " One of {}.", possible.join(", "));
    }
    let environment = flag.get_env().and_then(|variable| variable.to_str()).unwrap_or_default();
    if from_environment {
        format!("| {name} | `{environment}` | {default} | {help} |\n")
    } else {
        format!("| {name} | {default} | {help} |\n")
    }
}
