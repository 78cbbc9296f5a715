//! The report as a tree for people. Pure.

use jiff::Timestamp;

use super::report::{GroupReport, InstanceReport, Report, Standing, TaskReport};
use crate::cli::age::{age, since};
use crate::cli::readiness::Readiness;
use crate::cli::tone::Tone;
use crate::fdi::text::counted;

/// One line for each object and task; a message under what is not Ready.
pub fn lines(report: &Report, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    for instance in &report.instances {
        lines.push(instance_line(instance));
        let indent = if instance.groups.is_empty() { "   " } else { "│  " };
        lines.extend(message(&instance.readiness, indent));
        for (index, group) in instance.groups.iter().enumerate() {
            let last = index + 1 == instance.groups.len();
            lines.push(format!("{} {}", if last { "└─" } else { "├─" }, group_line(group)));
            lines.extend(group_details(group, if last { "   " } else { "│  " }, now));
        }
    }
    lines.push(summary(report));
    lines
}

fn summary(report: &Report) -> String {
    let objects = report.instances.iter().flat_map(|instance| {
        let groups = instance.groups.iter().map(|group| &group.readiness);
        std::iter::once(&instance.readiness).chain(groups)
    });
    let (ready, all) = objects.fold((0, 0), |(ready, all), one| (ready + usize::from(one.ready), all + 1));
    let tone = if report.well { Tone::Good } else { Tone::Busy };
    tone.paint(&format!("{ready} of {all} objects are Ready"))
}

/// The state in its colour, and whether nothing is sent.
fn state(readiness: &Readiness, suspended: bool) -> String {
    let word = readiness.tone().paint(readiness.word());
    // The reason of a suspended object that is not as desired says so already.
    if suspended && readiness.word() != "Suspended" { format!("{word}, suspended") } else { word }
}

fn instance_line(instance: &InstanceReport) -> String {
    let name = format!("FdiInstance {}/{}", instance.namespace, instance.name);
    let tasks = instance
        .tasks
        .map(|tasks| format!(", {} tasks: {} running, {} unmanaged", tasks.total, tasks.running, tasks.unmanaged));
    format!("{name}: {}{}", state(&instance.readiness, instance.suspended), tasks.unwrap_or_default())
}

fn group_line(group: &GroupReport) -> String {
    let ready = group.ready_tasks.as_ref().map(|ready| format!(", {ready} {}", group.desired_state));
    let ready = ready.unwrap_or_else(|| format!(", to be {}", group.desired_state));
    format!("FdiTaskGroup {}: {}{ready}", group.name, state(&group.readiness, group.suspended))
}

fn message(readiness: &Readiness, indent: &str) -> Option<String> {
    (!readiness.ready && !readiness.message.is_empty()).then(|| format!("{indent}  {}", readiness.message))
}

fn group_details(group: &GroupReport, indent: &str, now: Timestamp) -> Vec<String> {
    let mut details: Vec<String> = group.tasks.iter().map(|task| task_line(task, now)).collect();
    details.extend(group.omitted.iter().map(|(standing, more)| format!("… and {more} more {}", standing.as_str())));
    let mut lines: Vec<String> = message(&group.readiness, indent).into_iter().collect();
    let last = details.len();
    lines.extend(details.into_iter().enumerate().map(|(index, detail)| {
        let branch = if index + 1 == last { "└─" } else { "├─" };
        format!("{indent}{branch} {detail}")
    }));
    lines
}

fn task_line(task: &TaskReport, now: Timestamp) -> String {
    let tone = match task.standing {
        Standing::Failed | Standing::Failing => Tone::Bad,
        Standing::Pending | Standing::Deviating => Tone::Busy,
    };
    let names: Vec<&str> =
        [&task.id, &task.name].into_iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    let mut facts: Vec<String> = Vec::new();
    facts.extend(task.action.as_ref().map(|action| format!("to {action}")));
    facts.extend(task.reason.clone());
    facts.extend(task.attempts.map(|count| counted(count, "attempt")));
    facts.extend(task.since.map(|moment| format!("for {}", since(moment, now))));
    facts.extend(task.next_attempt_time.map(|moment| format!("next in {}", age(moment.duration_since(now)))));
    if task.standing == Standing::Failed {
        facts.push("tried every 10 minutes".to_owned());
    }
    let message = task.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    format!("{} {}: {}{message}", tone.paint(task.standing.as_str()), names.join(" "), facts.join(", "))
}
