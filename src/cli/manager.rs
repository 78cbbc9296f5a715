//! Who applies an object from git or a chart, and what becomes of an edit of it. Pure.

use std::collections::BTreeMap;

use kube::core::ObjectMeta;
use serde_json::Value;

use super::patch::FIELD_MANAGER;

/// Labels and annotations, as the tools set them.
const FLUX_KUSTOMIZATION: &str = "kustomize.toolkit.fluxcd.io/name";
const FLUX_KUSTOMIZATION_NAMESPACE: &str = "kustomize.toolkit.fluxcd.io/namespace";
const FLUX_RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
const FLUX_HELM_RELEASE: &str = "helm.toolkit.fluxcd.io/name";
const FLUX_HELM_RELEASE_NAMESPACE: &str = "helm.toolkit.fluxcd.io/namespace";
const ARGO_TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
const HELM_RELEASE: &str = "meta.helm.sh/release-name";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whether what a tool applies has the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sets {
    Yes,
    No,
    /// This program edited the field before, so its former owner is not known any more.
    Unknown,
}

/// What becomes of an edit of `spec.FIELD`; `None` when nothing manages the object. `metadata` is
/// that of before the edit.
pub fn fate(metadata: &ObjectMeta, field: &str) -> Option<String> {
    let labels = metadata.labels.clone().unwrap_or_default();
    let annotations = metadata.annotations.clone().unwrap_or_default();
    let field = Field { metadata, name: field };
    if let Some(name) = labels.get(FLUX_KUSTOMIZATION) {
        let namespace = labels.get(FLUX_KUSTOMIZATION_NAMESPACE).map_or("flux-system", String::as_str);
        let disabled = [&labels, &annotations].into_iter().any(|map| is(map, FLUX_RECONCILE, "disabled"));
        return Some(field.kustomization(name, namespace, disabled));
    }
    if let Some(name) = labels.get(FLUX_HELM_RELEASE) {
        let namespace = labels.get(FLUX_HELM_RELEASE_NAMESPACE).map_or("flux-system", String::as_str);
        return Some(format!(
            "Flux manages it (HelmRelease {namespace}/{name}): if the chart sets spec.{0}, the next upgrade undoes this \
             edit, and with driftDetection.mode enabled the next reconcile does; to keep it, change the values in git",
            field.name
        ));
    }
    if let Some(id) = annotations.get(ARGO_TRACKING_ID) {
        let application = id.split(':').next().unwrap_or(id);
        return Some(field.argo(&format!("Argo CD manages it (application \"{application}\")"), &annotations));
    }
    if let Some(release) = annotations.get(HELM_RELEASE) {
        return Some(format!(
            "Helm manages it (release \"{release}\"): if the chart sets spec.{}, the next 'helm upgrade' undoes this \
             edit; to keep it, change the values",
            field.name
        ));
    }
    let application = labels.get(INSTANCE_LABEL)?;
    Some(field.argo(
        &format!(
            "the label {INSTANCE_LABEL} says that \"{application}\" manages it; if that is an application of Argo CD"
        ),
        &annotations,
    ))
}

fn is(map: &BTreeMap<String, String>, key: &str, value: &str) -> bool {
    map.get(key).is_some_and(|found| found == value)
}

struct Field<'a> {
    metadata: &'a ObjectMeta,
    /// Of the spec.
    name: &'a str,
}

impl Field<'_> {
    fn kustomization(&self, name: &str, namespace: &str, disabled: bool) -> String {
        let (who, field) = (format!("Flux manages it (Kustomization {namespace}/{name})"), self.name);
        if disabled {
            return format!("{who}, but leaves it alone ({FLUX_RECONCILE}: disabled): the edit stays");
        }
        let undo = format!(
            "undoes this edit at its next reconcile, unless the Kustomization is suspended; to keep it, change it in git, or first \
             'flux suspend kustomization {name} -n {namespace}'"
        );
        match self.applied_by("kustomize-controller") {
            Sets::Yes => format!("{who}: git sets spec.{field}, so Flux {undo}"),
            Sets::No => format!("{who}: git does not set spec.{field}, so Flux keeps this edit"),
            Sets::Unknown => format!("{who}: if git sets spec.{field}, Flux {undo}"),
        }
    }

    fn argo(&self, who: &str, annotations: &BTreeMap<String, String>) -> String {
        let field = self.name;
        let undo = "undoes this edit: at once with selfHeal, otherwise at its next sync, and shows OutOfSync until \
                    then; to keep it, change it in git, or switch off the automated sync first";
        let sets = match annotations.get(LAST_APPLIED).and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            Some(applied) if applied["spec"].get(field).is_some() => Sets::Yes,
            Some(_) => Sets::No,
            None => self.applied_by("argocd-controller"),
        };
        match sets {
            Sets::Yes => format!("{who}: git sets spec.{field}, so Argo CD {undo}"),
            Sets::No => format!("{who}: git does not set spec.{field}, so Argo CD keeps this edit"),
            Sets::Unknown => format!("{who}: if git sets spec.{field}, Argo CD {undo}"),
        }
    }

    /// Whether this manager has applied the field, by server-side apply.
    fn applied_by(&self, manager: &str) -> Sets {
        let owners = self.metadata.managed_fields.iter().flatten().filter(|entry| {
            let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
            fields.is_some_and(|fields| fields["f:spec"].get(format!("f:{}", self.name)).is_some())
        });
        let owners: Vec<&str> = owners.filter_map(|entry| entry.manager.as_deref()).collect();
        if owners.contains(&manager) {
            Sets::Yes
        } else if owners.contains(&FIELD_MANAGER) || self.metadata.managed_fields.is_none() {
            Sets::Unknown
        } else {
            Sets::No
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(value: serde_json::Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    fn fields(manager: &str, field: &str) -> Value {
        json!([{"manager": manager, "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {format!("f:{field}"): {}}}}])
    }

    fn flux(managed: &Value) -> ObjectMeta {
        metadata(json!({"labels": {FLUX_KUSTOMIZATION: "orders", FLUX_KUSTOMIZATION_NAMESPACE: "flux-system"},
            "managedFields": managed}))
    }

    #[test]
    fn flux_undoes_what_git_sets_and_keeps_what_git_does_not_set() {
        let set = fate(&flux(&fields("kustomize-controller", "desiredState")), "desiredState").unwrap();
        assert!(set.contains("undoes this edit at its next reconcile"), "{set}");
        assert!(set.contains("flux suspend kustomization orders -n flux-system"), "{set}");
        let kept = fate(&flux(&fields("kustomize-controller", "desiredState")), "suspend").unwrap();
        assert!(kept.contains("keeps this edit"), "{kept}");
        let unknown = fate(&flux(&fields(FIELD_MANAGER, "suspend")), "suspend").unwrap();
        assert!(unknown.contains("if git sets spec.suspend, Flux undoes"), "{unknown}");
    }

    #[test]
    fn flux_leaves_an_object_alone_where_an_annotation_says_so() {
        let mut metadata = flux(&fields("kustomize-controller", "suspend"));
        metadata.annotations = Some([(FLUX_RECONCILE.to_owned(), "disabled".to_owned())].into());
        assert!(fate(&metadata, "suspend").unwrap().ends_with("the edit stays"));
    }

    #[test]
    fn argo_cd_undoes_what_was_last_applied() {
        let applied = json!({"spec": {"desiredState": "Running"}}).to_string();
        let argo = metadata(json!({"annotations": {ARGO_TRACKING_ID: "orders:fdi.romaconnect.dev/FdiTaskGroup:a/b",
            LAST_APPLIED: applied}}));
        let set = fate(&argo, "desiredState").unwrap();
        assert!(set.contains("application \"orders\"") && set.contains("at once with selfHeal"), "{set}");
        assert!(fate(&argo, "suspend").unwrap().contains("keeps this edit"));
    }

    #[test]
    fn a_label_that_others_use_too_is_named_as_what_it_is_and_nobody_manages_a_bare_object() {
        let label = fate(&metadata(json!({"labels": {INSTANCE_LABEL: "orders"}})), "suspend").unwrap();
        assert!(label.contains("if that is an application of Argo CD"), "{label}");
        let helm = json!({"labels": {INSTANCE_LABEL: "orders"}, "annotations": {HELM_RELEASE: "orders"}});
        assert!(fate(&metadata(helm), "suspend").unwrap().starts_with("Helm manages it"));
        let helm = json!({"labels": {FLUX_HELM_RELEASE: "orders"}, "annotations": {HELM_RELEASE: "orders"}});
        assert!(fate(&metadata(helm), "suspend").unwrap().starts_with("Flux manages it (HelmRelease"));
        assert_eq!(fate(&metadata(json!({})), "suspend"), None);
    }
}
