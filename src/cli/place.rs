//! An instance that no cluster knows: where it is comes from flags, and the key from the
//! environment.

use clap::Args;

use crate::crd::{FdiInstance, FdiInstanceSpec};

/// Where the instance is. The comments are help texts, so they are plain text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Without a cluster")]
pub struct PlaceFlags {
    /// Region of the instance: INSTANCE is then its ID in ROMA Connect, and the key that of the
    /// environment. No cluster is needed.
    #[arg(long, value_name = "REGION", requires = "project_id", conflicts_with = "endpoint")]
    region: Option<String>,

    /// Endpoint of the instance, for private clouds, instead of --region.
    #[arg(long, value_name = "URL", requires = "project_id")]
    endpoint: Option<String>,

    /// Project of the instance.
    #[arg(long, env = "HUAWEICLOUD_SDK_PROJECT_ID", value_name = "ID")]
    project_id: Option<String>,
}

impl PlaceFlags {
    /// The instance of this ID, where the flags say where it is.
    pub fn instance(&self, id: &str) -> Option<FdiInstance> {
        self.region.as_ref().or(self.endpoint.as_ref())?;
        let spec = FdiInstanceSpec {
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            project_id: self.project_id.clone().unwrap_or_default(),
            instance_id: id.to_owned(),
            ..FdiInstanceSpec::default()
        };
        Some(FdiInstance::new(id, spec))
    }
}
