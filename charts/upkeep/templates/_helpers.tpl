{{/* What the names of all objects start with. */}}
{{- define "upkeep.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "upkeep.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "upkeep.fullname" .) -}}
{{- end -}}

{{/* A digest wins over a tag; both together stay readable for people. */}}
{{- define "upkeep.image" -}}
{{- with .Values.image -}}
{{- if and .digest .tag -}}
{{- printf "%s:%s@%s" .repository .tag .digest -}}
{{- else if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What identifies the operator's Pods; it may never change, because a Deployment's selector cannot. */}}
{{- define "upkeep.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "upkeep.labels" -}}
{{ include "upkeep.selectorLabels" . }}
app.kubernetes.io/part-of: upkeep
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* What the operator may do with the objects of a namespace that it looks after. Every verb here is used. */}}
{{- define "upkeep.rules" -}}
- apiGroups: [upkeep.dev]
  resources: [maintenancetasks, backuppolicies]
  verbs: [list, watch]
- apiGroups: [upkeep.dev]
  # patch: the finalizer that is held while an Ingress shows the maintenance page. The rest: maintenance by hand.
  resources: [maintenancewindows]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [upkeep.dev]
  resources: [maintenancetasks/status, maintenancewindows/status, backuppolicies/status]
  verbs: [patch]
- apiGroups: [batch]
  # delete: history limits and concurrencyPolicy Replace. patch: what still runs when its window ends is stopped.
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [networking.k8s.io]
  # watch: who asks for maintenance by hand. patch: maintenance mode and the way back.
  # create, delete: an Ingress over it, by which its users reach the page.
  resources: [ingresses]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  # Which Ingresses Traefik serves. Classes belong to no namespace: in a Role this has no effect, and names must do.
  resources: [ingressclasses]
  verbs: [list]
- apiGroups: [gateway.networking.k8s.io]
  # The same, where the cluster knows the kind.
  resources: [httproutes]
  # create, delete: a route beside it, by which users reach the page, or testers pass by it.
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [traefik.io]
  # The same.
  resources: [ingressroutes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  # The maintenance page.
  resources: [deployments]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  # The maintenance page.
  resources: [services, configmaps]
  verbs: [get, create, patch, delete]
- apiGroups: [discovery.k8s.io]
  # Whether the maintenance page is ready to serve.
  resources: [endpointslices]
  verbs: [list]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* Not empty where there is a file that names Alertmanagers. */}}
{{- define "upkeep.hasAlertmanagers" -}}
{{- or .Values.alertmanagers.configMapName .Values.alertmanagers.secretName -}}
{{- end -}}

{{/* What makes an object a part of the uninstallation; the argument is its weight. */}}
{{- define "upkeep.retire.hook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* What the uninstallation does with the objects of a namespace. */}}
{{- define "upkeep.retire.rules" -}}
- apiGroups: [networking.k8s.io]
  # delete: routes of Upkeep's own, by which users reach the page, or testers pass by it.
  resources: [ingresses]
  verbs: [list, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  # The same.
  resources: [httproutes]
  verbs: [list, patch, delete]
- apiGroups: [traefik.io]
  resources: [ingressroutes]
  verbs: [list, patch, delete]
- apiGroups: [upkeep.dev]
  # patch: the finalizer.
  resources: [maintenancewindows]
  verbs: [list, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, delete]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [list, delete]
{{- end -}}

{{/* What identifies the Pods of the status page; it may never change. */}}
{{- define "upkeep.statusPage.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: status-page
{{- end -}}

{{- define "upkeep.statusPage.labels" -}}
{{ include "upkeep.statusPage.selectorLabels" . }}
app.kubernetes.io/part-of: upkeep
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* All that the status page may do in a namespace. */}}
{{- define "upkeep.statusPage.rules" -}}
- apiGroups: [upkeep.dev]
  resources: [maintenancewindows]
  verbs: [list]
{{- end -}}
