//! The service's error codes: what they mean, which are permanent, and what a user can do about
//! them.
//!
//! Sources: API pages `ErrorCode_fdi` and `ErrorCode_server`, and the error code pages of the
//! gateway and IAM. Messages are not stable there, so only codes decide; a message may at most add
//! a hint.

/// What a code stands for, whatever the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A task of the batch is the cause.
    SomeTask,
    /// Another code of FDI.
    Fdi,
    /// A failure in FDI's own network: nothing was wrong with the request.
    Network,
    SignIn,
    Throttled,
    /// Of the gateway, before FDI has seen the request.
    Gateway,
    /// The HTTP status decides.
    Unknown,
}

/// `code` in the form that is compared: trimmed, in upper case, `APIG.` of the older gateway as
/// `APIGW.`.
pub fn normalize(code: &str) -> String {
    let code = code.trim().to_ascii_uppercase();
    match code.strip_prefix("APIG.") {
        Some(number) => format!("APIGW.{number}"),
        None => code,
    }
}

/// What is known of one code.
#[derive(Debug)]
struct Known {
    code: &'static str,
    meaning: Meaning,
    /// Refused again until somebody changes something.
    permanent: bool,
    /// What the user can do.
    cure: Option<&'static str>,
}

const fn lasting(code: &'static str, meaning: Meaning, cure: &'static str) -> Known {
    Known { code, meaning, permanent: true, cure: Some(cure) }
}

const fn passing(code: &'static str, meaning: Meaning, cure: &'static str) -> Known {
    Known { code, meaning, permanent: false, cure: Some(cure) }
}

/// The method of the sign-in decides what to do.
const fn sign_in(code: &'static str) -> Known {
    Known { code, meaning: Meaning::SignIn, permanent: false, cure: None }
}

const CONFIGURATION: &str = "Check the task's configuration in ROMA Connect.";
const TASK_ID: &str = "Check the task ID; the task may have been deleted.";
const EMPTY_ID: &str = "FDI takes the ID for empty: check the ID in ROMA Connect; if it is right, open a ticket.";
const PARAMETER: &str = "FDI takes a parameter for invalid: check the task in ROMA Connect, and that it starts there.";
const PROJECT: &str = "Check that the task belongs to the project of the FdiInstance.";
const GRANT: &str = "Grant the user roma:tasks:list and roma:tasks:operate for this project.";
const ADDRESS: &str = "Allow the operator's IP address in ROMA Connect.";
const QUOTA: &str = "Raise the quota or unfreeze the application in the API gateway.";
pub const PAUSE: &str = "No action needed: the operator pauses, then sends fewer requests.";

/// Every code that the operator knows. `docs/errors.md` has a row for each.
const KNOWN: &[Known] = &[
    lasting("FDI.3002", Meaning::Fdi, PARAMETER),
    passing("FDI.3016", Meaning::Fdi, "Check the data source's settings in ROMA Connect."),
    passing("FDI.3019", Meaning::SomeTask, CONFIGURATION),
    passing("FDI.3020", Meaning::SomeTask, CONFIGURATION),
    // The task does not exist, or not in this project: IDs are never reused.
    lasting("FDI.3021", Meaning::SomeTask, TASK_ID),
    lasting("FDI.3022", Meaning::SomeTask, EMPTY_ID),
    passing("FDI.3023", Meaning::SomeTask, "Wait until the task's current run has ended."),
    passing("FDI.3026", Meaning::SomeTask, CONFIGURATION),
    passing("FDI.3027", Meaning::SomeTask, CONFIGURATION),
    lasting("FDI.3033", Meaning::Fdi, PARAMETER),
    // The task's own SQL, mapping or data source address is wrong: it must be edited.
    lasting("FDI.3035", Meaning::Fdi, "Correct the task's SQL statement in ROMA Connect."),
    lasting("FDI.3037", Meaning::Fdi, "Correct the task's mapping in ROMA Connect."),
    lasting("FDI.3039", Meaning::Fdi, PROJECT),
    lasting("FDI.3043", Meaning::Fdi, "Correct the IP address of the task's data source in ROMA Connect."),
    lasting("FDI.3081", Meaning::SomeTask, TASK_ID),
    // Only ROMA Connect can add one.
    lasting("FDI.3083", Meaning::SomeTask, "Add a schedule plan to the task in ROMA Connect."),
    lasting("FDI.3149", Meaning::Fdi, EMPTY_ID),
    lasting("FDI.3180", Meaning::SomeTask, PROJECT),
    passing(
        "FDI.9999",
        Meaning::Network,
        "FDI failed in its own network, and the operator tries again; if this lasts, open a ticket with Huawei Cloud.",
    ),
    sign_in("ROMA.1000"),
    sign_in("ROMA.1002"),
    passing("ROMA.1006", Meaning::SignIn, GRANT),
    passing("ROMA.12001", Meaning::Unknown, GRANT),
    passing("APIGW.0101", Meaning::Gateway, "Check region or endpoint of the FdiInstance."),
    sign_in("APIGW.0301"),
    passing("APIGW.0302", Meaning::Gateway, GRANT),
    sign_in("APIGW.0303"),
    passing("APIGW.0304", Meaning::Gateway, GRANT),
    sign_in("APIGW.0305"),
    sign_in("APIGW.0307"),
    passing("APIGW.0308", Meaning::Throttled, PAUSE),
    passing("APIGW.0310", Meaning::Gateway, "Check projectId; the project is suspended or does not exist."),
    passing("APIGW.0401", Meaning::Gateway, ADDRESS),
    passing("APIGW.0402", Meaning::Gateway, ADDRESS),
    passing("APIGW.0404", Meaning::Gateway, ADDRESS),
    passing("APIGW.0501", Meaning::Gateway, QUOTA),
    passing("APIGW.0502", Meaning::Gateway, QUOTA),
    passing("IAM.0002", Meaning::SignIn, GRANT),
    passing("IAM.0003", Meaning::SignIn, GRANT),
    passing("IAM.0012", Meaning::Throttled, PAUSE),
    passing(
        "IAM.0061",
        Meaning::SignIn,
        "The user is locked; wait for the lock to end or have an administrator unlock it.",
    ),
    passing(
        "IAM.0066",
        Meaning::SignIn,
        "The user or its password has expired; have it renewed and update the Secret.",
    ),
    passing("IAM.0081", Meaning::SignIn, "The user may only use the console; allow programmatic access."),
];

fn known(code: &str) -> Option<&'static Known> {
    let code = normalize(code);
    KNOWN.iter().find(|known| known.code == code)
}

pub fn meaning(code: &str) -> Meaning {
    known(code).map_or_else(
        || match normalize(code).split_once('.') {
            Some(("FDI", _)) => Meaning::Fdi,
            Some(("IAM", _)) => Meaning::SignIn,
            Some(("APIGW", _)) => Meaning::Gateway,
            _ => Meaning::Unknown,
        },
        |known| known.meaning,
    )
}

/// Whether a task that was refused with `code` is refused again until somebody changes something.
pub fn is_permanent(code: &str) -> bool {
    known(code).is_some_and(|known| known.permanent)
}

/// What the user can do, where a code has a known remedy.
pub fn cure(code: &str) -> Option<&'static str> {
    known(code)?.cure
}

/// What the user can do about a refusal with `code`, known or not.
pub fn advice(code: &str) -> &'static str {
    cure(code).unwrap_or_else(|| match normalize(code).split_once('.') {
        Some(("FDI", _)) => "See the task in ROMA Connect, and the error codes of FDI in the documentation.",
        Some(("ROMA", _)) => {
            "Check the instance in the ROMA Connect console; if this lasts, open a ticket with Huawei Cloud."
        }
        _ => {
            "The operator does not know this code: see the task in ROMA Connect; if this lasts, open a ticket with Huawei Cloud."
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_compared_without_blanks_case_or_the_age_of_the_gateway() {
        assert_eq!(meaning(" fdi.3083 "), Meaning::SomeTask);
        assert_eq!(meaning("APIG.0308"), Meaning::Throttled);
        assert_eq!(meaning("apig.0301"), Meaning::SignIn);
        assert_eq!(meaning("FDI.4711"), Meaning::Fdi);
        assert_eq!(meaning("IAM.4711"), Meaning::SignIn);
        assert_eq!(meaning("403"), Meaning::Unknown);
        assert_eq!(meaning("APIG.0501"), Meaning::Gateway);
    }

    #[test]
    fn every_code_has_advice_known_or_not() {
        assert!(advice("FDI.9999").contains("its own network"));
        assert!(advice("FDI.4711").contains("error codes of FDI"));
        assert!(advice("roma.13000").contains("ROMA Connect console"));
        assert!(advice("1234").contains("does not know this code"));
    }

    /// The cells of a page's rows that begin with a code, by code.
    fn rows(page: &'static str) -> std::collections::BTreeMap<&'static str, &'static str> {
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | ")).collect()
    }

    #[test]
    fn the_page_of_errors_has_every_code_with_the_cure_that_messages_name() {
        let english = rows(include_str!("../../docs/errors.md"));
        let chinese = rows(include_str!("../../docs/errors.zh-CN.md"));
        for Known { code, permanent, cure, .. } in KNOWN {
            let row = english.get(code).unwrap_or_else(|| panic!("docs/errors.md has no row for {code}"));
            assert!(cure.is_none_or(|cure| row.contains(cure)), "{code}: the page has another cure than the messages");
            assert_eq!(row.contains("| permanent |"), *permanent, "{code}: {row}");
            let row = chinese.get(code).unwrap_or_else(|| panic!("docs/errors.zh-CN.md has no row for {code}"));
            assert_eq!(row.contains("| 是 |"), *permanent, "{code}: {row}");
        }
    }

    #[test]
    fn a_code_is_listed_once_and_in_the_form_that_is_compared() {
        let codes: Vec<&str> = KNOWN.iter().map(|known| known.code).collect();
        assert!(codes.iter().all(|code| normalize(code) == *code && codes.iter().filter(|c| c == &code).count() == 1));
    }

    #[test]
    fn every_permanent_code_has_a_remedy() {
        for code in ["FDI.3083", "FDI.3021", "FDI.3081", "FDI.3180", "FDI.3035", "FDI.3037", "FDI.3043", "FDI.3039"]
            .into_iter()
            .chain(["FDI.3022", "FDI.3149", "FDI.3002", "FDI.3033"])
        {
            assert!(is_permanent(code) && cure(code).is_some(), "{code}");
        }
        for code in ["FDI.3019", "FDI.3020", "FDI.3023", "FDI.3026", "FDI.3027", "FDI.9999", ""] {
            assert!(!is_permanent(code), "{code} may pass by itself");
        }
    }
}
