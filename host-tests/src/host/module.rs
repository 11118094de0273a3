//! A compiled filter. Compiling takes seconds, so each file is compiled once per process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use wasmtime::{Config, Engine, ExternType, Module};

/// Imports that a gateway offers beside those of proxy-wasm.
const WASI_IMPORTS: &[&str] = &["random_get", "environ_get", "environ_sizes_get"];

/// Why a file cannot run as a filter.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The file is missing or unreadable.
    #[error("cannot read the filter `{path}`: {source}; build it first (`make wasm` for weir.wasm)", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The bytes are not a valid module.
    #[error("`{name}` is no valid WebAssembly module: {reason}")]
    Invalid {
        /// The file or the name given.
        name: String,
        /// The compiler's message.
        reason: String,
    },
    /// The module imports something that no gateway offers.
    #[error(
        "`{name}` imports `{import}`, which no gateway offers: only `env.proxy_*` and \
             `wasi_snapshot_preview1.random_get`, `environ_get` and `environ_sizes_get` exist on both"
    )]
    UnknownImport {
        /// The file or the name given.
        name: String,
        /// `module.function`.
        import: String,
    },
    /// The module lacks an export that the ABI demands.
    #[error("`{name}` does not export `{export}`, which proxy-wasm 0.2.1 demands")]
    MissingExport {
        /// The file or the name given.
        name: String,
        /// The function.
        export: &'static str,
    },
}

/// A module compiled for this host. Cloning is cheap.
#[derive(Clone)]
pub struct FilterModule {
    name: String,
    module: Module,
}

impl std::fmt::Debug for FilterModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilterModule").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FilterModule {
    /// Compiles a file, or takes it from the process's cache.
    ///
    /// # Errors
    /// [`ModuleError`] if the file is missing, invalid, or needs an import that no gateway offers.
    pub fn load(path: &Path) -> Result<Self, ModuleError> {
        static CACHE: OnceLock<Mutex<BTreeMap<PathBuf, FilterModule>>> = OnceLock::new();
        let mut cache = CACHE.get_or_init(Mutex::default).lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(module) = cache.get(path) {
            return Ok(module.clone());
        }
        let bytes = std::fs::read(path).map_err(|source| ModuleError::Unreadable { path: path.to_owned(), source })?;
        let module = Self::compile(&path.display().to_string(), &bytes)?;
        cache.insert(path.to_owned(), module.clone());
        Ok(module)
    }

    /// Compiles bytes, without the cache.
    ///
    /// # Errors
    /// [`ModuleError`] if they are invalid or need an import that no gateway offers.
    pub fn compile(name: &str, bytes: &[u8]) -> Result<Self, ModuleError> {
        let module = Module::new(engine(), bytes)
            .map_err(|error| ModuleError::Invalid { name: name.into(), reason: format!("{error:?}") })?;
        let filter = Self { name: name.into(), module };
        filter.check_imports()?;
        filter.check_exports()?;
        Ok(filter)
    }

    /// The module in wasmtime's form.
    pub(crate) fn module(&self) -> &Module {
        &self.module
    }

    fn check_imports(&self) -> Result<(), ModuleError> {
        for import in self.module.imports() {
            let known = match import.module() {
                "env" => import.name().starts_with("proxy_"),
                "wasi_snapshot_preview1" => WASI_IMPORTS.contains(&import.name()),
                _ => false,
            };
            if !known {
                let import = format!("{}.{}", import.module(), import.name());
                return Err(ModuleError::UnknownImport { name: self.name.clone(), import });
            }
        }
        Ok(())
    }

    fn check_exports(&self) -> Result<(), ModuleError> {
        let missing = |export| Err(ModuleError::MissingExport { name: self.name.clone(), export });
        if !matches!(self.module.get_export("memory"), Some(ExternType::Memory(_))) {
            return missing("memory");
        }
        for export in ["malloc", "proxy_abi_version_0_2_1", "proxy_on_context_create"] {
            if self.module.get_export(export).is_none() {
                return missing(export);
            }
        }
        Ok(())
    }
}

/// The engine of this process; it counts fuel in every instance.
pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.consume_fuel(true);
        Engine::new(&config).expect("wasmtime supports this machine")
    })
}
