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

pub fn meaning(code: &str) -> Meaning {
    match normalize(code).as_str() {
        "FDI.3019" | "FDI.3020" | "FDI.3021" | "FDI.3022" | "FDI.3023" | "FDI.3026" | "FDI.3027" | "FDI.3081"
        | "FDI.3083" | "FDI.3180" => Meaning::SomeTask,
        "FDI.9999" => Meaning::Network,
        "ROMA.1000" | "ROMA.1002" | "ROMA.1006" | "APIGW.0301" | "APIGW.0303" | "APIGW.0305" | "APIGW.0307" => {
            Meaning::SignIn
        }
        "APIGW.0308" | "IAM.0012" => Meaning::Throttled,
        code if code.starts_with("FDI.") => Meaning::Fdi,
        code if code.starts_with("IAM.") => Meaning::SignIn,
        code if code.starts_with("APIGW.") => Meaning::Gateway,
        _ => Meaning::Unknown,
    }
}

/// Whether a task that was refused with `code` is refused again until somebody changes something.
pub fn is_permanent(code: &str) -> bool {
    match normalize(code).as_str() {
        // No schedule plan: only ROMA Connect can add one.
        "FDI.3083"
        // The task does not exist, or not in this project: IDs are never reused.
        | "FDI.3021" | "FDI.3081" | "FDI.3180"
        // FDI takes the ID for empty, and will do so again.
        | "FDI.3022" | "FDI.3149"
        // A parameter is invalid: the same request stays invalid.
        | "FDI.3002" | "FDI.3033"
        // The task's own SQL, mapping or data source address is wrong: it must be edited.
        | "FDI.3035" | "FDI.3037" | "FDI.3043"
        // The project is not the task's.
        | "FDI.3039" => true,
        _ => false,
    }
}

/// What the user can do, where a code has a known remedy.
pub fn cure(code: &str) -> Option<&'static str> {
    Some(match normalize(code).as_str() {
        "FDI.3083" => "Add a schedule plan to the task in ROMA Connect.",
        "FDI.3021" | "FDI.3081" => "Check the task ID; the task may have been deleted.",
        "FDI.3180" | "FDI.3039" => "Check that the task belongs to the project of the FdiInstance.",
        "FDI.3019" | "FDI.3020" | "FDI.3026" | "FDI.3027" => "Check the task's configuration in ROMA Connect.",
        "FDI.3023" => "Wait until the task's current run has ended.",
        "FDI.3016" => "Check the data source's settings in ROMA Connect.",
        "FDI.3035" => "Correct the task's SQL statement in ROMA Connect.",
        "FDI.3037" => "Correct the task's mapping in ROMA Connect.",
        "FDI.9999" => {
            "FDI failed in its own network, and the operator tries again; if this lasts, open a ticket with Huawei Cloud."
        }
        "FDI.3043" => "Correct the IP address of the task's data source in ROMA Connect.",
        "ROMA.1006" | "ROMA.12001" | "APIGW.0302" | "APIGW.0304" | "IAM.0002" | "IAM.0003" => {
            "Grant the user roma:tasks:list and roma:tasks:operate for this project."
        }
        "APIGW.0101" => "Check region or endpoint of the FdiInstance.",
        "APIGW.0310" => "Check projectId; the project is suspended or does not exist.",
        "APIGW.0401" | "APIGW.0402" | "APIGW.0404" => "Allow the operator's IP address in ROMA Connect.",
        "APIGW.0501" | "APIGW.0502" => "Raise the quota or unfreeze the application in the API gateway.",
        "IAM.0061" => "The user is locked; wait for the lock to end or have an administrator unlock it.",
        "IAM.0066" => "The user or its password has expired; have it renewed and update the Secret.",
        "IAM.0081" => "The user may only use the console; allow programmatic access.",
        _ => return None,
    })
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

    #[test]
    fn every_permanent_code_but_those_for_invalid_parameters_has_a_remedy() {
        for code in ["FDI.3083", "FDI.3021", "FDI.3081", "FDI.3180", "FDI.3035", "FDI.3037", "FDI.3043", "FDI.3039"] {
            assert!(is_permanent(code) && cure(code).is_some(), "{code}");
        }
        for code in ["FDI.3022", "FDI.3149", "FDI.3002", "FDI.3033"] {
            assert!(is_permanent(code), "{code}");
        }
        for code in ["FDI.3019", "FDI.3020", "FDI.3023", "FDI.3026", "FDI.3027", "FDI.9999", ""] {
            assert!(!is_permanent(code), "{code} may pass by itself");
        }
    }
}
