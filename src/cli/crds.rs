//! `fdi-operator crds`: the CRDs of the two kinds, as YAML.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::crd;

pub fn run() -> ExitCode {
    match print(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot print the CRDs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    for crd in crd::all() {
        write!(out, "---\n{}", serde_saphyr::to_string(&crd)?)?;
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

    use super::*;

    #[test]
    fn what_is_printed_reads_back_as_the_crds() {
        let mut printed = Vec::new();
        print(&mut printed).unwrap();
        let text = String::from_utf8(printed).unwrap();
        let documents: Vec<CustomResourceDefinition> =
            text.split("---\n").skip(1).map(|document| serde_saphyr::from_str(document).unwrap()).collect();
        assert_eq!(documents, crd::all());
    }
}
