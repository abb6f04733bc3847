//! What serves names that have no certificate of their own.

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

pub(crate) static CERTIFICATE: LazyLock<Arc<CertifiedKey>> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(vec!["ingress.local".to_owned()]);
    let made = made.expect("the name is in order");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("PKCS #8");
    let chain = vec![made.cert.der().clone()];
    CertifiedKey::from_der(chain, key, &default_provider())
        .expect("they belong together")
        .into()
});
