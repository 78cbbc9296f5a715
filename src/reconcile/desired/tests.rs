use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::group::Conflict;
use super::*;
use crate::crd::{CachedGroup, FdiInstanceSpec, FdiTaskGroup, FdiTaskGroupSpec, FdiTaskGroupStatus};
use crate::fdi::TaskId;

fn stored(name: &str, created: i64, ids: &[&str]) -> StoredGroup {
    let task_ids = ids.iter().map(|&id| id.into()).collect();
    let mut object = FdiTaskGroup::new(name, FdiTaskGroupSpec { task_ids, ..FdiTaskGroupSpec::default() });
    object.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
    StoredGroup { object: Arc::new(object.into()), status: Arc::default(), unreported_since: None, predates: false }
}

fn snapshot() -> Snapshot {
    let instance = Arc::new(FdiInstance::new("roma", FdiInstanceSpec::default()));
    let groups = vec![stored("b", 1, &["t1", "t2"]), stored("a", 2, &["t2", "t3"])];
    Snapshot { instance: Some((instance, FdiInstanceStatus::default())), groups }
}

#[test]
fn what_is_desired_is_read_again_only_when_an_object_or_what_is_known_of_it_has_changed() {
    let before = snapshot();
    let desired = resolve(before.clone(), &Selections::default());
    let mut reordered = before.clone();
    reordered.groups.reverse();
    assert!(desired.newer(before.clone()).is_none() && desired.newer(reordered).is_none());

    let changes: [fn(&mut Snapshot); 7] = [
        |snapshot| snapshot.groups[0].object = Arc::new(CachedGroup::clone(&snapshot.groups[0].object)),
        |snapshot| {
            let status = FdiTaskGroupStatus { observed_generation: 3, ..FdiTaskGroupStatus::default() };
            snapshot.groups[1].status = status.into();
        },
        |snapshot| snapshot.groups[1].unreported_since = Some(Timestamp::UNIX_EPOCH),
        |snapshot| drop(snapshot.groups.pop()),
        |snapshot| snapshot.groups.push(stored("c", 3, &["t4"])),
        |snapshot| snapshot.instance = None,
        |snapshot| snapshot.instance.as_mut().unwrap().1.observed_generation = 3,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut edited = before.clone();
        change(&mut edited);
        let newer = desired.newer(edited.clone()).unwrap_or_else(|| panic!("change {number} was not noticed"));
        assert_eq!(newer.groups().len(), edited.groups.len());
    }
}

#[test]
fn a_repeated_entry_counts_as_a_duplicate_whether_it_is_owned_or_invalid_or_another_groups() {
    let older = stored("older", 1, &["t1", "t1", "t2"]);
    let younger = stored("younger", 2, &["t2", "not an id", "t3", "t2", "not an id", "t3"]);
    let desired = resolve(Snapshot { instance: None, groups: vec![younger, older] }, &Selections::default());
    let [older, younger] = desired.groups() else { panic!("two groups") };
    assert_eq!((older.owned.len(), older.duplicates, older.total()), (2, 1, 2));
    assert_eq!(younger.owned, [TaskId::new("t3").unwrap()]);
    assert_eq!(younger.conflicts, [Conflict { task: TaskId::new("t2").unwrap(), owner: "older".to_owned() }]);
    assert_eq!((younger.invalid.len(), younger.duplicates, younger.total()), (1, 3, 3));
}
