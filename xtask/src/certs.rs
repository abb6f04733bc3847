//! Certificates for the demo and the benchmark: a CA made on the spot and a leaf that it signed.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

/// PEM blocks.
#[derive(Debug)]
pub(crate) struct Pems {
    pub(crate) ca: String,
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Pems {
    /// The certificate as a Secret of type `kubernetes.io/tls`, in the namespace `default`.
    pub(crate) fn secret(&self, name: &str) -> String {
        let indented = |pem: &str| -> String {
            let lines = pem.lines().map(|line| format!("    {}\n", line.trim_end()));
            lines.collect()
        };
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: default\n\
             type: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
            indented(&self.chain),
            indented(&self.key)
        )
    }
}

/// An ECDSA P-256 certificate for `names`.
pub(crate) fn issue(names: &[&str]) -> Result<Pems> {
    let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("CA key")?;
    let ca_params = ca_params()?;
    let ca = ca_params.self_signed(&ca_key).context("CA certificate")?;
    let issuer = Issuer::new(ca_params, ca_key);

    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("key")?;
    let mut params = CertificateParams::new(names).context("a name for the certificate")?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let leaf = params.signed_by(&key, &issuer).context("certificate")?;
    Ok(Pems {
        ca: ca.pem(),
        chain: leaf.pem(),
        key: key.serialize_pem(),
    })
}

fn ca_params() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).context("CA certificate")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "penstock throw-away CA");
    Ok(params)
}
