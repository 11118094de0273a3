//! The arguments of the commands about tenants' own keys at providers.
use clap::{Args, Subcommand, ValueEnum};
use weir_contract::{TenantId, Timestamp};
use weir_tenants::store::vault::Fallback;
use weir_tenants::store::vault::rotate::RotationRequest;

use super::parse::parse_time;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ByokCommand {
    /// Store a tenant's key at a provider, read from standard input, in the place of the one before.
    #[command(
        after_help = "It cannot be read again: lists show its fingerprint (the first 16 hex digits of its SHA-256) and its \
                            last four characters.\n\nExample: printf %s \"$KEY\" | weir byok put acme openai"
    )]
    Put(PutArgs),
    /// List a tenant's keys at providers, without the keys themselves.
    List {
        /// The tenant.
        tenant: TenantId,
    },
    /// Remove a tenant's key at a provider. Gateways know within a second.
    Remove {
        /// The tenant.
        tenant: TenantId,
        /// The provider.
        provider: String,
    },
    /// Say whose key serves a tenant whose own is missing, has expired or cannot be used.
    Fallback {
        /// The tenant.
        tenant: TenantId,
        /// Whose key.
        to: FallbackArg,
    },
    /// Wrap every tenant's data key with the key-encryption key of the configuration. Traffic goes on; safe to repeat.
    #[command(
        after_help = "With `vault.key: {command: …}` a new key-encryption key is made first. With a file or a variable: give the \
                            new one as `vault.key`, the old one as `vault.previous_key`, rotate, and take the old one out.\n\
                            Exit code 3 when some tenant's rows do not open."
    )]
    Rotate(RotateVaultArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PutArgs {
    /// The tenant.
    pub(in crate::cli) tenant: TenantId,
    /// The provider: openai, azure_openai, anthropic, google, …
    pub(in crate::cli) provider: String,
    /// When it expires.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(in crate::cli) expires: Option<Timestamp>,
    /// A key, which is refused here. Otherwise the error about an argument too many would repeat it.
    #[arg(hide = true)]
    pub(in crate::cli) secret: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RotateVaultArgs {
    /// Give each tenant a new data key, too, and seal its keys again.
    #[arg(long)]
    data_keys: bool,
}

impl RotateVaultArgs {
    pub(in crate::cli) fn request(&self) -> RotationRequest {
        RotationRequest { data_keys: self.data_keys }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum FallbackArg {
    /// Nobody's: its requests are refused.
    None,
    /// The operator's, who pays.
    House,
}

impl From<FallbackArg> for Fallback {
    fn from(arg: FallbackArg) -> Self {
        match arg {
            FallbackArg::None => Fallback::None,
            FallbackArg::House => Fallback::House,
        }
    }
}
