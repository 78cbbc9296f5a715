//! The client against the simulator, which verifies signatures and tokens.

use std::sync::Arc;
use std::time::Duration;

use fdi_simulator::{AccessKey, Certificate, Filter, Options, Simulator, User, UserState};

use crate::fdi::api::{FdiApi, Outcome};
use crate::fdi::auth::sign_in::SignIn;
use crate::fdi::batch::Batch;
use crate::fdi::connect::{Connection, Fdi, FdiConfig};
use crate::fdi::endpoint::Location;
use crate::fdi::error::{CallError, Class};
use crate::fdi::observer::{Operation, RequestObserver};
use crate::fdi::rate_limit::RequestLimiter;
use crate::fdi::task::{Action, Attributes, RunState, TaskId};

const PROJECT: &str = "0123456789abcdef0123456789abcdef";
const INSTANCE: &str = "1d94f3f6-1111-2222-3333-444455556666";

struct Nobody;

impl RequestObserver for Nobody {
    fn request(&self, _: Operation, _: &'static str, _: Duration, _: Duration) {}
}

async fn simulator() -> Simulator {
    Simulator::start(Options::default().tls(Certificate::Right)).await.unwrap()
}

fn fdi() -> Fdi {
    Fdi::new(FdiConfig { allow_insecure: true, ..FdiConfig::default() }).unwrap()
}

fn connect(fdi: &Fdi, sim: &Simulator, sign_in: SignIn) -> Arc<dyn FdiApi> {
    let connection = Connection {
        location: Location::Endpoint(sim.https_url().unwrap()),
        project_id: PROJECT.into(),
        instance_id: INSTANCE.into(),
        iam_endpoint: sim.https_url(),
        ca_bundle: sim.ca_pem(),
    };
    fdi.connect(&connection, sign_in, &Arc::new(RequestLimiter::new(1000, 10)), Arc::new(Nobody)).unwrap()
}

fn key(secret: &str, security_token: Option<&str>) -> SignIn {
    SignIn::AccessKey {
        access_key: "AKIDEXAMPLEROMA00001".into(),
        secret_key: secret.into(),
        security_token: security_token.map(Into::into),
    }
}

fn password() -> SignIn {
    SignIn::Password { domain: "account".into(), user: "operator".into(), password: "pass phrase".into() }
}

#[tokio::test]
async fn every_way_to_sign_in_lists_and_starts_tasks_over_tls_with_a_private_authority() {
    let ways: [(&str, SignIn); 4] = [
        ("token", SignIn::Token("a-token".into())),
        ("permanent key", key("secret-key", None)),
        ("temporary key", key("secret-key", Some("st+/="))),
        ("password", password()),
    ];
    for (way, sign_in) in ways {
        let sim = simulator().await;
        sim.set_token("a-token", Some(PROJECT), Duration::from_hours(1));
        sim.set_user(User::new("account", "operator", "pass phrase"));
        let mut key = AccessKey::new("secret-key");
        key.security_token = (way == "temporary key").then(|| "st+/=".into());
        sim.set_key("AKIDEXAMPLEROMA00001", key);
        let instance = sim.instance(PROJECT, INSTANCE);
        instance.create_tasks(12);
        let api = connect(&fdi(), &sim, sign_in);

        let tasks = api.list(Attributes::Omit, None).await.unwrap();
        assert_eq!(tasks.len(), 12, "{way}");
        let again = api.list(Attributes::Omit, Some(&tasks)).await.unwrap();
        assert_eq!(again.as_ptr(), tasks.as_ptr(), "what has not changed is not decoded again");
        let ids: Vec<TaskId> = tasks.iter().take(10).map(|task| task.id.clone()).collect();
        let batch = Batch::new(Action::Start, ids).unwrap();
        let answer = api.start_or_stop(api.acquire().await.unwrap(), &batch).await.unwrap();
        assert!(answer.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Accepted), "{way}: {answer:?}");
        assert_eq!(instance.batch_calls().len(), 1);
        let started = api.list(Attributes::Omit, Some(&tasks)).await.unwrap();
        assert_eq!(started.iter().filter(|task| task.state == Some(RunState::Running)).count(), 10, "{way}");
    }
}

#[tokio::test]
async fn a_hundred_instances_with_a_wrong_key_do_not_lock_it() {
    let sim = simulator().await;
    sim.set_key("AKIDEXAMPLEROMA00001", AccessKey::new("right"));
    sim.instance(PROJECT, INSTANCE);
    let fdi = fdi();
    let apis: Vec<_> = (0..100).map(|_| connect(&fdi, &sim, key("wrong", None))).collect();
    let results = futures::future::join_all(apis.iter().map(|api| api.list(Attributes::Omit, None))).await;
    assert!(results.iter().all(|result| result.as_ref().is_err_and(|error| error.class == Class::SignIn)));
    assert!(sim.counts(&Filter::default()).sign_ins_refused <= 3);
    assert!(
        connect(&fdi, &sim, key("right", None)).list(Attributes::Omit, None).await.is_ok(),
        "the key still works for those who have it"
    );
}

#[tokio::test]
async fn a_token_that_iam_ended_is_renewed_in_the_same_request() {
    let sim = simulator().await;
    sim.set_user(User::new("account", "operator", "pass phrase"));
    sim.instance(PROJECT, INSTANCE);
    let api = connect(&fdi(), &sim, password());
    api.list(Attributes::Omit, None).await.unwrap();
    sim.expire_all_tokens();
    api.list(Attributes::Omit, None).await.unwrap();
    sim.revoke_all_tokens();
    api.list(Attributes::Omit, None).await.unwrap();
}

#[tokio::test]
async fn each_user_that_iam_does_not_let_in_has_its_sentence() {
    let refused = async |state: UserState| -> CallError {
        let sim = simulator().await;
        sim.set_user(User { state, ..User::new("account", "operator", "pass phrase") });
        sim.instance(PROJECT, INSTANCE);
        connect(&fdi(), &sim, password()).list(Attributes::Omit, None).await.unwrap_err()
    };
    for (state, sentence) in [
        (UserState::Locked, "The user is locked"),
        (UserState::Expired, "has expired"),
        (UserState::MfaOnly, "second factor"),
        (UserState::ConsoleOnly, "may only use the console"),
    ] {
        let error = refused(state).await;
        assert_eq!(error.class, Class::SignIn, "{error:?}");
        assert!(error.message.contains(sentence), "{}", error.message);
    }
}
