-- A suspended group is still observed, so a reconcile can be requested at any time. Suspending a
-- group that is being deleted leaves its tasks as they are; starting or stopping it does nothing.
local spec = obj.spec or {}
local suspended = spec.suspend == true
local deleting = obj.metadata.deletionTimestamp ~= nil

local actions = {}

actions["reconcile"] = {
  ["iconClass"] = "fa fa-fw fa-redo",
}

actions["suspend"] = {
  ["disabled"] = suspended,
  ["iconClass"] = "fa fa-fw fa-pause-circle",
}

actions["resume"] = {
  ["disabled"] = not suspended,
  ["iconClass"] = "fa fa-fw fa-play-circle",
}

-- Git says which state is desired, so the next sync undoes these two; with selfHeal at once.
actions["start"] = {
  ["disabled"] = deleting or spec.desiredState == "Running",
  ["iconClass"] = "fa fa-fw fa-play",
  ["displayName"] = "Start until the next sync",
}

actions["stop"] = {
  ["disabled"] = deleting or spec.desiredState == "Stopped",
  ["iconClass"] = "fa fa-fw fa-stop",
  ["displayName"] = "Stop until the next sync",
}

return actions
