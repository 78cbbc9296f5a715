//! Memory: of the operator, of a process that only keeps the objects, and its growth with the
//! number of groups.

use std::path::Path;

use fdi_operator::crd::{FdiInstance, FdiTaskGroup};
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::de::DeserializeOwned;

use super::floors::Retained;
use super::table::{Row, Unit};
use crate::support::mebibytes;

/// The process of the floor: lists all objects, keeps them, prints what it needs.
pub async fn retain(kubeconfig: &Path) {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let instances: Vec<FdiInstance> = all(&client).await;
    let groups: Vec<FdiTaskGroup> = all(&client).await;
    let (idle, peak) = (mebibytes("self", "VmRSS"), mebibytes("self", "VmHWM"));
    println!("{}", serde_json::to_string(&Retained { seconds: 0.0, idle, peak }).unwrap());
    drop((instances, groups));
}

async fn all<K>(client: &kube::Client) -> Vec<K>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let mut page = ListParams::default().limit(250);
    let mut objects = Vec::new();
    loop {
        let list = api.list(&page).await.unwrap();
        objects.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return objects,
        }
    }
}

/// Memory with so many groups, and its floor.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub groups: usize,
    pub idle: f64,
    pub floor: f64,
}

/// How much each further group needs, from the smallest number to each larger one.
pub fn growth(samples: &[Sample]) -> Vec<Row> {
    let Some((least, more)) = samples.split_first() else { return Vec::new() };
    let slope =
        |most: &Sample, from: f64, to: f64| (to - from) * 1024.0 * 1024.0 / (most.groups as f64 - least.groups as f64);
    let rows = more.iter().map(|most| {
        let what = format!("for each group, from {} to {} groups", least.groups, most.groups);
        Row::new(what, Unit::Bytes, slope(most, least.idle, most.idle)).floor(slope(most, least.floor, most.floor))
    });
    rows.collect()
}
