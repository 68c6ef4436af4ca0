//! How members of etcd prove who they are, and this node to them.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, Error, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// The longest file, in bytes: all certificate authorities of a Linux distribution have 230 kB.
const LONGEST: u64 = 1024 * 1024;

/// The files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Certificates of authorities, of which one has signed those of the members.
    pub ca: PathBuf,
    /// The certificate of this node, and what leads from it to an authority that etcd trusts; and its private key.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// A file that is of no use. A person is at fault.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct Unusable {
    path: PathBuf,
    problem: String,
}

/// What connections need.
pub(super) fn configure(files: &Files) -> Result<Arc<ClientConfig>, Unusable> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        roots.add(certificate).map_err(|error| unusable(&files.ca, &error))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&files.ca, &error))?
        .with_root_certificates(roots);
    let config = match &files.own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let pem = read(key)?;
            let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| Unusable {
                path: key.clone(),
                problem: "it holds no private key; write one in PEM form, without a password".to_owned(),
            })?;
            builder.with_client_auth_cert(certificates(certificate)?, private).map_err(|error| unusable(key, &error))?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let pem = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.map_err(|error| unusable(path, &error))?;
    if all.is_empty() {
        let problem = "it holds no certificate; write some in PEM form".to_owned();
        return Err(Unusable { path: path.to_owned(), problem });
    }
    Ok(all)
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, Unusable> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    let outcome = File::open(path).and_then(|file| {
        // A pipe would be waited for.
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        file.take(LONGEST + 1).read_to_end(&mut bytes)
    });
    outcome.map_err(|error| unusable(path, &error))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Unusable { path: path.to_owned(), problem: format!("it is longer than {LONGEST} bytes") });
    }
    Ok(bytes)
}

fn unusable(path: &Path, error: &impl ToString) -> Unusable {
    Unusable { path: path.to_owned(), problem: error.to_string() }
}

/// What a person is to do about a failed agreement.
pub(super) fn remedy(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "set failover.ca to the authority that has signed its certificate"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "write the name or the address that stands in its certificate (subject alternative name)",
        Error::InvalidCertificate(_) => "renew its certificate",
        Error::InvalidMessage(_) => "write http:// if etcd serves without TLS there",
        Error::AlertReceived(_) => "set failover.cert and failover.key to a certificate that etcd accepts",
        _ => "see whether etcd serves TLS 1.2 or 1.3 there",
    }
}
