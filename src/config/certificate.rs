//! How a development certificate is recognised, so that it is never accepted beyond loopback.

use rustls_pki_types::CertificateDer;

/// The organisation in the subject (and issuer) of every development certificate.
pub const DEVELOPMENT_ORGANIZATION: &str = "consolegate development";

/// X.509's attribute `id-at-organizationName` (2.5.4.10, RFC 5280 appendix A.1), then the tag UTF8String.
const ORGANIZATION: [u8; 6] = [0x06, 0x03, 0x55, 0x04, 0x0a, 0x0c];

/// Whether the certificate, or its issuer, says that it was made for development.
///
/// Looks for the exact DER of that attribute, wherever it stands: whoever writes our organisation into a
/// certificate of their own is taken at their word, and refusing it costs nobody anything.
pub fn is_development(certificate: &CertificateDer<'_>) -> bool {
    let mut attribute = ORGANIZATION.to_vec();
    attribute.extend(u8::try_from(DEVELOPMENT_ORGANIZATION.len()).ok());
    attribute.extend_from_slice(DEVELOPMENT_ORGANIZATION.as_bytes());
    certificate.windows(attribute.len()).any(|window| window == attribute)
}
