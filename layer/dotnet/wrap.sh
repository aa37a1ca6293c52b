# Sourced by ../wrapper: .NET loads the start-up hook, which takes it out again for children.
# A hook that is not there would keep .NET from starting.
if [ -r "$thaw/dotnet/Thaw.StartupHook.dll" ]; then
	DOTNET_STARTUP_HOOKS="$thaw/dotnet/Thaw.StartupHook.dll${DOTNET_STARTUP_HOOKS:+:$DOTNET_STARTUP_HOOKS}"
	export DOTNET_STARTUP_HOOKS
fi
